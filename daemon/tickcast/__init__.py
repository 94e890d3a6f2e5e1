"""tickcast: certified forecasts from Keras LSTM and attention models on live market ticks.

This package is what runs in production. It imports neither tensorflow nor `tickcast_export`.
"""

__version__ = "0.1.0"
