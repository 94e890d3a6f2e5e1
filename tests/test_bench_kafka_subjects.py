"""The processes of the Kafka bench and what is known of them from outside."""

import os
import time
from pathlib import Path

import pytest
from tickcast import bench_kafka_subjects as subjects
from tickcast.errors import TickcastError

CPU_STEP_S = 1 / subjects.TICKS_PER_SECOND_OF_CPU


def test_cpu_time_of_a_process_is_what_the_process_itself_says() -> None:
    before_s = time.process_time()
    found_s = subjects.cpu_s(os.getpid())
    assert before_s - 2 * CPU_STEP_S <= found_s <= time.process_time() + 2 * CPU_STEP_S


def test_subject_has_topics_of_its_own_and_the_settings_given(tmp_path: Path) -> None:
    sections = {"kafka": {"bootstrap_servers": "127.0.0.1:1"}, "inference": {"threads": 2}}
    made = subjects.subject("daemon", tmp_path, "bench-one", tmp_path / "bundle", sections)
    kafka = made.config.kafka
    assert kafka.input_topics == ("bench-one-ticks",)
    assert {kafka.output_topic, kafka.dead_letter_topic} == {"bench-one-forecasts", "bench-one-dead-letters"}
    assert made.config.inference.threads == 2
    assert made.config.models[0].bundle == tmp_path / "bundle"


def test_program_that_ends_before_it_is_ready_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "echo.log"
    with (
        subjects.worker("bench_kafka_echo", str(tmp_path / "absent.toml"), log) as child,
        pytest.raises(TickcastError, match=r"bench_kafka_echo ended with status 1(.|\n)*absent\.toml"),
    ):
        subjects.wait_until_ready(child, log)
