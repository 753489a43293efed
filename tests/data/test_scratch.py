"""Arrays on a worker's own disk come back as they were."""

import numpy as np
import pytest

from yfccdask.data.scratch import read_array


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 3), np.float32),
        np.arange(24, dtype=np.float64).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        np.array(2.5, np.float32),
    ],
    ids=["empty", "three axes", "by column", "a scalar"],
)
def test_an_array_is_read_as_numpy_reads_it(tmp_path, values):
    np.save(tmp_path / "values.npy", values)
    found = read_array(tmp_path / "values.npy")
    np.testing.assert_array_equal(found, np.load(tmp_path / "values.npy"))
    assert found.dtype == values.dtype
    assert found.flags.writeable


def test_a_short_file_is_not_taken_for_a_whole_one(tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, np.arange(10.0))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="reshape"):
        read_array(path)
