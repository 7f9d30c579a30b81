import resource
from contextlib import contextmanager


@contextmanager
def tiny_disk():
    """Let no file grow beyond a few kilobytes, by the kernel's own hand.

    As short as can be: the log that this test run is written to is a file, too.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
