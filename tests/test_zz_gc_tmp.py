
import gc
def test_gc(): gc.collect()
def test_gc2(): gc.collect()
