"""HDF5 files: where they keep images, how those are read, copied and written."""
