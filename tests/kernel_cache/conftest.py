"""An empty cache of kernels for each test, and no warning of it that a test did not expect."""

import pytest

from minivan import kernel_cache
from minivan.kernel_cache import KernelCacheWarning


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for kernels, as this process's own."""
    monkeypatch.setenv("MINIVAN_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(kernel_cache, "_warned", None)
    kernel_cache._base.cache_clear()
    yield kernel_cache.folder()
    kernel_cache._base.cache_clear()


@pytest.fixture(autouse=True)
def warned(recwarn):
    """The warnings so far; every one that a test does not take away is its failure."""

    def take():
        messages = [str(caught.message) for caught in recwarn.list if caught.category is KernelCacheWarning]
        recwarn.clear()
        return messages

    yield take
    assert take() == []
