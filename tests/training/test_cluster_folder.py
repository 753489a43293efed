"""The folder with a cluster's key: read by its owner alone, and enough for Dask to use TLS."""

import sys

import dask
import pytest
from distributed import Security

from yfccdask.errors import ClusterError
from yfccdask.training.cluster_folder import create_cluster_folder


def mode(path):
    return path.stat().st_mode & 0o777


def test_dask_takes_the_key_from_the_folder_and_talks_tls_only(tmp_path):
    settings = create_cluster_folder(tmp_path / "cluster")
    read = dask.config.collect(paths=[str(settings)], env={})
    with dask.config.set(dask.config.merge(dask.config.config, read)):
        security = Security()
        assert security.require_encryption
        for role in ("scheduler", "worker", "client"):
            assert security.get_connection_args(role)["ssl_context"] is not None
        assert dask.config.get("distributed.comm.default-scheme") == "tls"
        assert dask.config.get("distributed.scheduler.work-stealing") is False
    assert mode(tmp_path / "cluster") == 0o700
    assert mode(tmp_path / "cluster" / "key.pem") == 0o600


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "key.pem").write_text("somebody's")
    with pytest.raises(ClusterError, match="may be another cluster's"):
        create_cluster_folder(tmp_path)
    assert (tmp_path / "key.pem").read_text() == "somebody's"


def test_without_cryptography_only_a_plain_one_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ClusterError, match=r"yfccdask\[slurm\]"):
        create_cluster_folder(tmp_path / "cluster")
    settings = create_cluster_folder(tmp_path / "cluster", plain=True)
    assert [path.name for path in settings.iterdir()] == ["training.yaml"]
    assert not list(tmp_path.rglob("*.pem"))
