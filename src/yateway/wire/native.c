/* The compiled part of reading: see native.py for what it is and when it is used.

It must not decide. Where a line is anything but an ordinary message it returns None, and Python
looks; so whatever it answers is what Python would have answered, and every error is Python's.

It touches texts by functions of the interpreter alone, which check their bounds: there is no
pointer into a text here that could go astray. It is built for each CPython by itself: one that was
built for the stable ABI of 3.11 by 3.12 lost references to None on 3.11. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The bounds of a message: see params.py. */
enum { COUNT_LIMIT = 1024, NAME_LIMIT = 256, VALUE_LIMIT = 64 * 1024 };
/* A longer number of seconds is for Python, whose integers know no end. */
enum { DIGITS = 15 };

static PyObject *request_start, *answer_start, *colon;

/* Where a character is in [start, end) of a text; -1 if nowhere. */
static Py_ssize_t
find(PyObject *text, Py_UCS4 character, Py_ssize_t start, Py_ssize_t end)
{
    return PyUnicode_FindChar(text, character, start, end, 1);
}

/* Whether each percent of a text from `place` on begins an escape that the engine writes. */
static int
escapes_are_known(PyObject *text, Py_ssize_t place, Py_ssize_t end)
{
    while ((place = find(text, '%', place, end)) >= 0) {
        Py_UCS4 next = place + 1 < end ? PyUnicode_ReadChar(text, place + 1) : 0;
        if (!((next >= 'A' && next <= '_') || next == 'z' || next == '}' || next == '%')) {
            return 0;
        }
        place += 2;
    }
    return 1;
}

/* Whether parameters, from the colon at `place` on, are as many and as long as a message may have
(guarantee F10). From colon to colon, always the farthest that a name may reach. */
static int
is_bounded(PyObject *text, Py_ssize_t place, Py_ssize_t end)
{
    if (end - place > 3 * COUNT_LIMIT
        && PyUnicode_Count(text, colon, place, end) > COUNT_LIMIT) {
        return 0;
    }
    while (end - place > NAME_LIMIT + 1) {
        Py_ssize_t next = PyUnicode_FindChar(text, ':', place + 1, place + NAME_LIMIT + 2, -1);
        if (next < 0) {
            /* A long value, or too long a name. */
            Py_ssize_t equals = find(text, '=', place + 1, place + NAME_LIMIT + 2);
            next = find(text, ':', place + 1, end);
            next = next < 0 ? end : next;
            if (equals < 0 || next - equals - 1 > VALUE_LIMIT) {
                return 0;
            }
        }
        place = next;
    }
    return 1;
}

/* Return what stands between two colons of an answer as a boolean, of a request as a number; NULL
with no error set if it is neither. */
static PyObject *
second_field(PyObject *line, int is_request, Py_ssize_t start, Py_ssize_t end)
{
    if (is_request) {
        long long number = 0;
        if (end == start || end - start > DIGITS) {
            return NULL;
        }
        for (; start < end; start++) {
            Py_UCS4 digit = PyUnicode_ReadChar(line, start);
            if (digit < '0' || digit > '9') {
                return NULL;
            }
            number = 10 * number + (digit - '0');
        }
        return PyLong_FromLongLong(number);
    }
    PyObject *word = PyUnicode_Substring(line, start, end);
    if (word == NULL) {
        return NULL;
    }
    PyObject *flag = PyUnicode_CompareWithASCIIString(word, "true") == 0    ? Py_True
                     : PyUnicode_CompareWithASCIIString(word, "false") == 0 ? Py_False
                                                                            : NULL;
    Py_DECREF(word);
    Py_XINCREF(flag);
    return flag;
}

PyDoc_STRVAR(read_message_doc,
"read_message(line, request, answer, /)\n--\n\n"
"Return what `from_engine` returns for an ordinary message, None for anything else.");

static PyObject *
read_message(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "read_message() takes a text and two callables");
        return NULL;
    }
    PyObject *line = args[0];
    Py_ssize_t end = PyUnicode_GetLength(line);
    int is_request = PyUnicode_Tailmatch(line, request_start, 0, end, -1) == 1;
    if (!is_request && PyUnicode_Tailmatch(line, answer_start, 0, end, -1) != 1) {
        Py_RETURN_NONE;
    }
    /* Of the id, of what follows it, of the name and of the return value: each first character,
    and behind the last of the four the colon before the parameters, or the end. */
    Py_ssize_t start[5];
    start[0] = PyUnicode_GetLength(request_start);
    for (int field = 1; field < 4; field++) {
        Py_ssize_t place = find(line, ':', start[field - 1], end);
        if (place < 0) {
            Py_RETURN_NONE;
        }
        start[field] = place + 1;
    }
    start[4] = find(line, ':', start[3], end);
    start[4] = start[4] < 0 ? end : start[4];
    if (find(line, 0, 0, end) >= 0
        || find(line, '%', start[0], start[4]) >= 0
        || start[3] - start[2] - 1 > NAME_LIMIT
        || !escapes_are_known(line, start[4], end)
        || !is_bounded(line, start[4], end)) {
        Py_RETURN_NONE;
    }
    PyObject *result = NULL;
    PyObject *id = PyUnicode_Substring(line, start[0], start[1] - 1);
    PyObject *second = second_field(line, is_request, start[1], start[2] - 1);
    PyObject *name = PyUnicode_Substring(line, start[2], start[3] - 1);
    PyObject *retvalue = PyUnicode_Substring(line, start[3], start[4]);
    PyObject *params = PyUnicode_Substring(line, start[4], end);
    if (id && second && name && retvalue && params) {
        result = PyObject_CallFunctionObjArgs(
            args[is_request ? 1 : 2], id, second, name, retvalue, params, NULL);
    } else if (!PyErr_Occurred()) {
        result = Py_NewRef(Py_None);
    }
    Py_XDECREF(id);
    Py_XDECREF(second);
    Py_XDECREF(name);
    Py_XDECREF(retvalue);
    Py_XDECREF(params);
    return result;
}

PyDoc_STRVAR(cut_doc,
"cut(params, needle, /)\n--\n\n"
"Return what stands behind `needle` up to the next colon, None where it is not found.");

static PyObject *
cut(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyUnicode_Check(args[0]) || !PyUnicode_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "cut() takes two texts");
        return NULL;
    }
    Py_ssize_t end = PyUnicode_GetLength(args[0]);
    Py_ssize_t place = PyUnicode_Find(args[0], args[1], 0, end, 1);
    if (place < 0) {
        if (place == -2) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    place += PyUnicode_GetLength(args[1]);
    Py_ssize_t next = find(args[0], ':', place, end);
    return PyUnicode_Substring(args[0], place, next < 0 ? end : next);
}

static PyMethodDef functions[] = {
    {"read_message", (PyCFunction)(void (*)(void))read_message, METH_FASTCALL, read_message_doc},
    {"cut", (PyCFunction)(void (*)(void))cut, METH_FASTCALL, cut_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    request_start = PyUnicode_InternFromString("%%>message:");
    answer_start = PyUnicode_InternFromString("%%<message:");
    colon = PyUnicode_InternFromString(":");
    if (request_start == NULL || answer_start == NULL || colon == NULL) {
        return NULL;
    }
    return PyModule_Create(&definition);
}
