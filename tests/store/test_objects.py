"""The store in a real S3 server on loopback, behind a proxy that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from factory.engine.run import run_job
from factory.errors import UserError
from factory.plan import plan
from factory.present import card, report, stats
from factory.store import lock, mark
from factory.store.check_archive import Faults
from factory.store.dataset import open_data
from factory.store.fs import open_files
from factory.store.ledger import open_ledger
from factory.store.reopen import retry
from factory.store.status import status
from factory.store.verify import repair, verify
from tests.support import s3
from tests.support.command import ROOT
from tests.support.files import tree
from tests.support.s3 import stored
from tests.support.seeded_stages import STAGES


@pytest.fixture
def local(job) -> dict[str, bytes]:
    run_job(job, STAGES)
    return {name: data for name, data in tree(job.output).items() if name != mark.MARK_NAME}


def test_the_same_bytes_as_in_a_folder_and_every_verb_reads_them(url, remote, local, proxy):
    assert run_job(remote, STAGES).units_done == 6
    assert stored(url, remote) == local
    out = remote.output
    assert status(out).complete and verify(out).complete and verify(out).ok
    row = open_data(out).rows.to_pylist()[0]
    assert "jpg" in open_data(out).sample_files(row)
    lists = proxy.lists
    assert run_job(remote, STAGES).units_done == 0
    assert proxy.lists - lists == 2  # one before the lock is taken and one under it


@pytest.mark.parametrize("fault", ["500", "slow", "lost", "late"])
def test_faults_that_pass_leave_no_trace(url, remote, local, proxy, fault):
    """Also a PUT that succeeds but is never answered, or late; the first ones are the lock's, which are conditional."""
    proxy.faults = [fault, fault, "", fault, "", "", fault, "", fault, "", "", "", fault, fault]
    run_job(remote, STAGES)
    assert not proxy.faults and not proxy.late
    assert stored(url, remote) == local and verify(remote.output).complete


@pytest.mark.heavy(10)
def test_killed_half_way_through_every_upload(job, url):
    small = job.model_copy(update={"records": 5, "unit_size": 2, "samples_per_shard": 4})
    command = [sys.executable, "-m", "tests.store.kill_in_uploads", small.model_dump_json(), url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) == 14


def test_damage_is_found_taken_away_and_made_anew(url, remote, local):
    run_job(remote, STAGES)
    bucket = s3.client(url)
    key = remote.output.removeprefix(f"s3://{s3.BUCKET}/") + "/small-000001.tar"
    data = bytearray(local["small-000001.tar"])
    data[600] ^= 1
    bucket.put_object(Bucket=s3.BUCKET, Key=key, Body=bytes(data))
    assert repair(remote.output).broken == {1: Faults(units={0}, whole_file=False)}
    assert run_job(remote, STAGES).units_done == 1
    assert stored(url, remote) == local


def test_failed_records_are_opened_again(url, remote, local):
    run_job(remote, STAGES)
    assert retry(remote.output).records == 1
    assert run_job(remote, STAGES).units_done == 1
    assert stored(url, remote) == local


def test_two_runs_in_one_place(remote, monkeypatch):
    """The second sees the first one's heart beat and is refused."""
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with open_ledger(remote, plan(remote)):
        monkeypatch.setattr(mark, "kernel", lambda: "another machine")
        monkeypatch.setattr(lock, "kernel", mark.kernel)
        assert status(remote.output).live.pid == os.getpid()
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
            run_job(remote, STAGES)
    assert status(remote.output).live is None


def test_of_many_who_want_it_at_once_one_gets_it(remote, monkeypatch):
    files, held, refused = open_files(remote.output), [], []
    start, end = threading.Barrier(6), threading.Barrier(6)
    monkeypatch.setattr(lock, "BEAT", 0.01)

    def want() -> None:
        start.wait()
        try:
            with lock.hold(files):
                held.append(1)
                end.wait()
        except UserError:
            refused.append(1)
            end.wait()

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 5)


def test_a_machine_that_died_is_waited_for_and_a_revived_one_writes_no_more(url, remote, local, monkeypatch):
    """Whatever its clock says: here it runs a year ahead."""
    monkeypatch.setattr(lock, "STALE", 0.3)
    files = open_files(remote.output)
    there = lock.ObjectMark(files)
    there.read()
    dead = mark.Holder(7, "elsewhere", 0.0, 4e9, 5, "abc", "another kernel")
    assert there.write(dead)
    told = []
    run_job(remote, STAGES, lambda event: told.append(event))
    assert told[0].kind == "waiting" and "process 7 on elsewhere" in told[0].message
    assert stored(url, remote) == local
    assert not there.write(replace(dead, beats=6))  # it comes back, and learns that it has lost the place


def test_credentials_are_in_no_file_and_no_message(url, remote, proxy, factory, values, tmp_path):
    run_job(remote, STAGES)
    found = s3.objects(url, remote.output.removeprefix(f"s3://{s3.BUCKET}/"))
    nowhere = factory("status", "s3://no-such-bucket/x")
    path = tmp_path / "secret.yaml"
    path.write_text(json.dumps({**values, "output": f"s3://me:{s3.SECRET}@{s3.BUCKET}/x"}))
    asked = factory("run", path)
    assert nowhere.returncode == asked.returncode == 2
    assert "no such bucket" in nowhere.stderr and "leave credentials to the environment" in asked.stderr
    for text in (nowhere.stdout + nowhere.stderr, asked.stdout + asked.stderr, *map(str, found.values())):
        assert s3.SECRET not in text and "AKIAEXAMPLE" not in text


def test_a_store_that_stays_broken_is_one_clear_line(remote, proxy, monkeypatch):
    from factory.store import objects

    monkeypatch.setitem(objects.RETRY, "max_retries", 2)
    proxy.faults = ["500"] * 50
    with pytest.raises(UserError, match="the store answers 500"):
        run_job(remote, STAGES)


@pytest.mark.parametrize(
    "out", ["s3://", "s3:///x", "s3://b/../x", "s3://b/x?y=z", "http://b/x", "s3://b/a b", "gs://u:p@b"]
)
def test_other_addresses_are_refused(out):
    with pytest.raises(UserError, match="is not understood"):
        open_files(out)


def test_the_other_clouds_open_without_asking_anybody(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert open_files("az://container/x").address == "az://container/x"
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    assert open_files("gs://bucket/x").address == "gs://bucket/x"


def test_a_reading_beyond_the_end_gives_what_is_there(remote):
    """As on a disk. An object store refuses such a range, and any range of an empty object."""
    files = open_files(remote.output)
    files.put("empty", [])
    files.put("five", [b"12345"])
    assert files.read("empty") == files.read("empty", 0, 9) == files.read("five", 5, 9) == files.read("five", 7) == b""
    assert files.read("five", 3, 9) == files.read("five", 3) == b"45"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_every_usual_variable_may_name_an_http_endpoint(remote, proxy, monkeypatch, variable):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv(variable, proxy.url)
    open_files(remote.output).put("x", [b"y"])
    assert open_files(remote.output).sizes() == {"x": 1}


@pytest.mark.parametrize("how", ["501", "ignored"])
def test_a_store_without_conditional_puts_is_told_and_can_be_used_with_a_weak_lease(
    url, remote, local, proxy, monkeypatch, how
):
    proxy.unconditional = how
    with pytest.raises(UserError, match="knows no PUT on condition.*FACTORY_LEASE=weak"):
        run_job(remote, STAGES)
    assert not stored(url, remote)
    monkeypatch.setenv("FACTORY_LEASE", "weak")
    run_job(remote, STAGES)
    assert stored(url, remote) == local and verify(remote.output).complete
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with open_ledger(remote, plan(remote)), pytest.raises(UserError, match="in use by process"):
        monkeypatch.setattr(mark, "kernel", lambda: "another machine")
        monkeypatch.setattr(lock, "kernel", mark.kernel)
        run_job(remote, STAGES)


def test_an_unknown_kind_of_lease_is_refused(remote, monkeypatch):
    monkeypatch.setenv("FACTORY_LEASE", "week")
    with pytest.raises(UserError, match="FACTORY_LEASE=week: write strict"):
        open_files(remote.output)


def test_a_password_in_the_endpoint_is_not_shown(remote, monkeypatch):
    from factory.store import objects

    monkeypatch.setitem(objects.RETRY, "max_retries", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{s3.SECRET}@127.0.0.1:1")
    with pytest.raises(UserError, match="out of reach") as caught:
        status(remote.output)
    assert s3.SECRET not in str(caught.value) and "127.0.0.1:1" in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "http:// host", "http://", "ftp://host"])
def test_an_endpoint_that_is_no_address_is_told(remote, monkeypatch, url):
    """The transport itself would panic."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL=.*write it as http://HOST:PORT"):
        open_files(remote.output)


def test_every_reader_lists_once(remote, proxy, tmp_path):
    """Whatever the number of shards."""
    run_job(remote, STAGES)
    readers = {
        "status": lambda: status(remote.output),
        "stats": lambda: stats.collect(open_data(remote.output)),
        "card": lambda: card.write_card(open_data(remote.output)),
        "inspect": lambda: report.write_report(open_data(remote.output), 3),
        "verify": lambda: verify(remote.output),
        "retry": lambda: retry(remote.output, "no such words"),
    }
    lists = {}
    for name, read in readers.items():
        before = proxy.lists
        read()
        lists[name] = proxy.lists - before
    assert lists == dict.fromkeys(readers, 1)
