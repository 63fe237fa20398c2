/* The kernels as the Python module capture.body._kernels: the stable ABI from 3.10 on, arrays as the addresses of
 * their first elements. Only capture/body/_native_skin.py calls this; it answers for the addresses and sizes it
 * passes. The interpreter lock is given away while a kernel runs.
 */
#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "skin.h"

typedef unsigned long long Address;

static void *pointer(Address address) { return (void *)(uintptr_t)address; }

static PyObject *skin(PyObject *Py_UNUSED(self), PyObject *args) {
    NbSkin skin;
    NbBody body;
    NbPose pose;
    Address counts, order, rows, joints, weights, parents, steps, vectors, rest_joints, translation, rest, out;
    if (!PyArg_ParseTuple(args, "IIIfKKKKKKKKKKKK", &skin.vertex_count, &skin.width, &body.joint_count,
                          &skin.narrow_step, &counts, &order, &rows, &joints, &weights, &parents, &steps, &vectors,
                          &rest_joints, &translation, &rest, &out))
        return NULL;
    skin.counts = pointer(counts);
    skin.order = pointer(order);
    skin.rows = pointer(rows);
    skin.joints = pointer(joints);
    skin.weights = pointer(weights);
    body.parents = pointer(parents);
    body.vectors = pointer(vectors);
    body.rest_joints = pointer(rest_joints);
    body.translation = pointer(translation);
    Py_BEGIN_ALLOW_THREADS
    nb_pose(&body, pointer(steps), &pose);
    nb_skin(&skin, &pose, pointer(rest), pointer(out));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"skin", skin, METH_VARARGS,
     "(vertex_count, width, joint_count, narrow_step, counts, order, rows, joints, weights, parents, wide_steps,"
     " vectors, rest_joints, translation, rest, out)"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Native kernels of the body; see skin.h.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&module); }
