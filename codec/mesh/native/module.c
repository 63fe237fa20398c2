/* The kernels as the Python module codec.mesh._kernels: the stable ABI from 3.10 on, arrays as the addresses of their
 * first elements. Only codec/mesh/_mesh_native.py calls these functions; it answers for the addresses and sizes it
 * passes. The interpreter lock is given away while a kernel runs.
 */
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "mesh_kernels.h"

typedef unsigned long long Address;

#define MODEL_FORMAT "IIIIIIIKKKKKKK"

typedef struct {
    NmModel model;
    Address level_ends, neighbours, weights[NM_KINDS], classes[NM_KINDS], sums;
} ModelArguments;

#define MODEL_ARGUMENTS(m)                                                                                           \
    &(m).model.points, &(m).model.levels, &(m).model.width, &(m).model.now[0], &(m).model.now[1],                    \
        &(m).model.before[0], &(m).model.before[1], &(m).level_ends, &(m).neighbours, &(m).weights[0],              \
        &(m).weights[1], &(m).classes[0], &(m).classes[1], &(m).sums

static void *pointer(Address address) { return (void *)(uintptr_t)address; }

static const NmModel *model_of(ModelArguments *from) {
    from->model.level_ends = pointer(from->level_ends);
    from->model.neighbours = pointer(from->neighbours);
    for (int kind = 0; kind < NM_KINDS; kind++) {
        from->model.weights[kind] = pointer(from->weights[kind]);
        from->model.classes[kind] = pointer(from->classes[kind]);
    }
    from->model.sums = pointer(from->sums);
    return &from->model;
}

static PyObject *predict(PyObject *Py_UNUSED(self), PyObject *args) {
    ModelArguments m;
    NmSegment segment;
    Address refs, points, known, codes, contexts;
    if (!PyArg_ParseTuple(args, MODEL_FORMAT "IIKKKKK", MODEL_ARGUMENTS(m), &segment.meshes, &segment.channels, &refs,
                          &points, &known, &codes, &contexts))
        return NULL;
    segment.refs = pointer(refs);
    segment.shifts = NULL;
    Py_BEGIN_ALLOW_THREADS
    nm_predict(model_of(&m), &segment, pointer(points), pointer(known), pointer(codes), pointer(contexts));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *choose_shifts(PyObject *Py_UNUSED(self), PyObject *args) {
    NmModel model = {0};
    NmSegment segment = {0};
    Address codes, contexts, costs, shifts;
    if (!PyArg_ParseTuple(args, "IIIKKKK", &model.points, &segment.meshes, &segment.channels, &codes, &contexts,
                          &costs, &shifts))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    nm_choose_shifts(&model, &segment, pointer(codes), pointer(contexts), pointer(costs), pointer(shifts));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *encode(PyObject *Py_UNUSED(self), PyObject *args) {
    ModelArguments m;
    NmSegment segment;
    Address refs, shifts, codes, contexts, out, out_bytes;
    if (!PyArg_ParseTuple(args, MODEL_FORMAT "IIKKKKKK", MODEL_ARGUMENTS(m), &segment.meshes, &segment.channels,
                          &refs, &shifts, &codes, &contexts, &out, &out_bytes))
        return NULL;
    segment.refs = pointer(refs);
    segment.shifts = pointer(shifts);
    ptrdiff_t result;
    Py_BEGIN_ALLOW_THREADS
    result = nm_encode(model_of(&m), &segment, pointer(codes), pointer(contexts), pointer(out), (size_t)out_bytes);
    Py_END_ALLOW_THREADS
    return PyLong_FromSsize_t((Py_ssize_t)result);
}

static PyObject *decode(PyObject *Py_UNUSED(self), PyObject *args) {
    ModelArguments m;
    NmSegment segment;
    Address refs, shifts, data, data_bytes, points;
    if (!PyArg_ParseTuple(args, MODEL_FORMAT "IIKKKKK", MODEL_ARGUMENTS(m), &segment.meshes, &segment.channels,
                          &refs, &shifts, &data, &data_bytes, &points))
        return NULL;
    segment.refs = pointer(refs);
    segment.shifts = pointer(shifts);
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = nm_decode(model_of(&m), &segment, pointer(data), (size_t)data_bytes, pointer(points));
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
    {"predict", predict, METH_VARARGS, "(model..., meshes, channels, refs, points, known, codes, contexts)"},
    {"choose_shifts", choose_shifts, METH_VARARGS, "(points, meshes, channels, codes, contexts, costs, shifts)"},
    {"encode", encode, METH_VARARGS,
     "(model..., meshes, channels, refs, shifts, codes, contexts, out, out_bytes) -> bytes at the end of out"},
    {"decode", decode, METH_VARARGS,
     "(model..., meshes, channels, refs, shifts, data, data_bytes, points) -> 0, or -1 for damage"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Native kernels of the mesh codec; see mesh_kernels.h.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&module); }
