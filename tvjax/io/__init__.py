"""Files in, files out: every format of frames behind one `Series` or one `Stack`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
