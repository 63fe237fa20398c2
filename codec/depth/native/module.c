/* The kernels as the Python module codec.depth._kernels.
 *
 * Built once for all Pythons from 3.10 on (the stable ABI), which has no buffers yet in 3.10: arrays come as the
 * addresses of their first elements. Only codec/depth/_native.py calls these functions; it answers for the addresses
 * and sizes it passes. The interpreter lock is given away while a kernel runs.
 */
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "nightrig_kernels.h"

typedef unsigned long long Address;

static void *pointer(Address address) { return (void *)(uintptr_t)address; }

static PyObject *rans_check_map(PyObject *Py_UNUSED(self), PyObject *args) {
    Address map, bytes;
    if (!PyArg_ParseTuple(args, "KK", &map, &bytes)) return NULL;
    return PyLong_FromLong(nr_rans_check_map(pointer(map), (size_t)bytes));
}

static PyObject *rans_encoder_bytes(PyObject *Py_UNUSED(self), PyObject *args) {
    unsigned int height, width;
    if (!PyArg_ParseTuple(args, "II", &height, &width)) return NULL;
    return PyLong_FromSize_t(nr_rans_encoder_bytes(height, width));
}

static PyObject *rans_decoder_bytes(PyObject *Py_UNUSED(self), PyObject *args) {
    unsigned int height, width;
    if (!PyArg_ParseTuple(args, "II", &height, &width)) return NULL;
    return PyLong_FromSize_t(nr_rans_decoder_bytes(height, width));
}

static PyObject *rans_encode(PyObject *Py_UNUSED(self), PyObject *args) {
    Address pixels, map, out, out_bytes, workspace;
    unsigned int height, width;
    if (!PyArg_ParseTuple(args, "KIIKKKK", &pixels, &height, &width, &map, &out, &out_bytes, &workspace)) return NULL;
    ptrdiff_t result;
    Py_BEGIN_ALLOW_THREADS
    result = nr_rans_encode(pointer(pixels), height, width, pointer(map), pointer(out), (size_t)out_bytes,
                            pointer(workspace));
    Py_END_ALLOW_THREADS
    return PyLong_FromSsize_t((Py_ssize_t)result);
}

static PyObject *rans_decode(PyObject *Py_UNUSED(self), PyObject *args) {
    Address data, data_bytes, map, pixels, workspace;
    unsigned int height, width;
    if (!PyArg_ParseTuple(args, "KKIIKKK", &data, &data_bytes, &height, &width, &map, &pixels, &workspace)) return NULL;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = nr_rans_decode(pointer(data), (size_t)data_bytes, height, width, pointer(map), pointer(pixels),
                            pointer(workspace));
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static PyObject *max_workspace_bytes(PyObject *Py_UNUSED(self), PyObject *args) {
    unsigned int width;
    if (!PyArg_ParseTuple(args, "I", &width)) return NULL;
    return PyLong_FromSize_t(nr_max_workspace_bytes(width));
}

static PyObject *max_encode(PyObject *Py_UNUSED(self), PyObject *args) {
    Address pixels, out, out_bytes, workspace;
    unsigned int height, width;
    if (!PyArg_ParseTuple(args, "KIIKKK", &pixels, &height, &width, &out, &out_bytes, &workspace)) return NULL;
    ptrdiff_t result;
    Py_BEGIN_ALLOW_THREADS
    result = nr_max_encode(pointer(pixels), height, width, pointer(out), (size_t)out_bytes, pointer(workspace));
    Py_END_ALLOW_THREADS
    return PyLong_FromSsize_t((Py_ssize_t)result);
}

static PyObject *max_decode(PyObject *Py_UNUSED(self), PyObject *args) {
    Address data, data_bytes, pixels, workspace;
    unsigned int height, width;
    if (!PyArg_ParseTuple(args, "KKIIKK", &data, &data_bytes, &height, &width, &pixels, &workspace)) return NULL;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = nr_max_decode(pointer(data), (size_t)data_bytes, height, width, pointer(pixels), pointer(workspace));
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
    {"rans_check_map", rans_check_map, METH_VARARGS, "(map, bytes) -> 0, or -1 where it is none"},
    {"rans_encoder_bytes", rans_encoder_bytes, METH_VARARGS, "(height, width) -> bytes of its workspace, or 0"},
    {"rans_decoder_bytes", rans_decoder_bytes, METH_VARARGS, "(height, width) -> bytes of its workspace, or 0"},
    {"rans_encode", rans_encode, METH_VARARGS,
     "(pixels, height, width, map, out, out_bytes, workspace) -> bytes written, or below 0"},
    {"rans_decode", rans_decode, METH_VARARGS,
     "(data, data_bytes, height, width, map, pixels, workspace) -> 0, or -1 for damage"},
    {"max_workspace_bytes", max_workspace_bytes, METH_VARARGS, "(width) -> bytes, 0 where there are no such images"},
    {"max_encode", max_encode, METH_VARARGS,
     "(pixels, height, width, out, out_bytes, workspace) -> bytes written, or below 0"},
    {"max_decode", max_decode, METH_VARARGS,
     "(data, data_bytes, height, width, pixels, workspace) -> 0, or -1 for damage"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Native kernels of the depth codecs; see nightrig_kernels.h.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&module); }
