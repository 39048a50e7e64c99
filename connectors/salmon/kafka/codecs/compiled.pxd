cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
