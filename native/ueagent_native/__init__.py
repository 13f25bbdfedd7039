"""Typed face of the C core: engines, SRTP contexts, the relay. What crosses the border is in `values`.

The core itself is described in `native/README.md` and `native/include/ums.h`.
"""
