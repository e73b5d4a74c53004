"""How this process allocates memory, and that a crash writes none of it to a disk."""

import contextlib
import ctypes


def reuse_memory() -> None:
    """Tell glibc's allocator to keep freed memory for reuse; does nothing on other systems.

    By default glibc returns every freed block above 32 MB to the kernel, and the next allocation is zeroed page by
    page: a third of a training step with feature maps of 75 MB, a third of decoding a photo. See mallopt(3).
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other systems have no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mmap_threshold, trim_threshold, most = -3, -1, 2**31 - 1
        mallopt(mmap_threshold, 2**30)
        mallopt(trim_threshold, most)


def give_back_memory() -> None:
    """Tell glibc's allocator to return what is free to the kernel; does nothing on other systems. See malloc_trim(3).

    Without it a process of many threads keeps the most that each of them has ever held.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # as above
        ctypes.CDLL(None).malloc_trim(0)


def dump_no_core() -> None:
    """Let a crash of this process and of those it starts write no core file; Windows has none. See setrlimit(2)."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
