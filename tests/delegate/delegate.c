/* A TFLite external delegate for the tests: takes some operators, computes them right or wrong, or breaks.

   Options (all optional):
     take  nearest: RESIZE_NEAREST_NEIGHBOR only (default); resize: RESIZE_BILINEAR too; logistic: LOGISTIC;
           softmax: SOFTMAX; none: nothing
     mode  correct: as the reference kernels do (default)
           fixed:   the same values whatever the input, but RESIZE_BILINEAR computes as it should
           wrong:   off by the option "off" (default 40) steps, or by 0.3 for floats
           nan:     not a number, for floats
           refuse:  fails when it is given the graph
           prepare: fails when tensors are allocated
           invoke:  fails when it is run
           absent:  does not load: the device is not there

   The structs are those of TFLite's stable C ABI, as far as a delegate of this kind touches them. The registration is
   passed by value: it is declared in its longest form, of which an older runtime reads the beginning. */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, ERROR = 1 };
enum { FLOAT32 = 1, UINT8 = 3, INT8 = 9 };
enum { OP_LOGISTIC = 14, OP_RESIZE_BILINEAR = 23, OP_SOFTMAX = 25, OP_DELEGATE = 51, OP_RESIZE_NEAREST_NEIGHBOR = 97 };

typedef struct { int size; int data[]; } IntArray;

typedef struct {
    int type;
    void *data;
    IntArray *dims;
    struct { float scale; int32_t zero_point; } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    struct Delegate *delegate;
    int buffer_handle;
    bool data_is_stale, is_variable;
    struct { int type; void *params; } quantization;
    void *sparsity;
    const IntArray *dims_signature;
} Tensor;

typedef struct {
    IntArray *inputs, *outputs, *intermediates, *temporaries;
    void *user_data;
    void *builtin_data; /* of both resize operators: bool align_corners, bool half_pixel_centers */
    const void *custom_initial_data;
    int custom_initial_data_size;
    struct Delegate *delegate;
    bool might_have_side_effect;
} Node;

typedef struct Context Context;

typedef struct {
    void *(*init)(Context *, const char *, size_t);
    void (*free)(Context *, void *);
    int (*prepare)(Context *, Node *);
    int (*invoke)(Context *, Node *);
    const char *(*profiling_string)(const Context *, const Node *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *(*async_kernel)(Context *, Node *);
    uint64_t inplace_operator;
} Registration;

struct Context {
    size_t tensors_size;
    int (*GetExecutionPlan)(Context *, IntArray **);
    Tensor *tensors;
    void *impl;
    int (*ResizeTensor)(Context *, Tensor *, IntArray *);
    void (*ReportError)(Context *, const char *, ...);
    int (*AddTensors)(Context *, int, int *);
    int (*GetNodeAndRegistration)(Context *, int, Node **, Registration **);
    int (*ReplaceNodeSubsetsWithDelegateKernels)(Context *, Registration, const IntArray *, struct Delegate *);
};

typedef struct Delegate {
    void *data;
    int (*Prepare)(Context *, struct Delegate *);
    int (*CopyFromBufferHandle)(Context *, struct Delegate *, int, Tensor *);
    int (*CopyToBufferHandle)(Context *, struct Delegate *, int, Tensor *);
    void (*FreeBufferHandle)(Context *, struct Delegate *, int *);
    int64_t flags;
    void *opaque_delegate_builder;
    char take[16], mode[16];
    int off;
} Delegate;

typedef struct {
    Delegate *delegate;
    IntArray *nodes_to_replace, *input_tensors, *output_tensors;
} DelegateParams;

typedef struct {
    int operator, input, output;
    bool align_corners, half_pixel_centers;
    void *inside; /* memory of an output that only this kernel reads: TFLite gives it none */
} Resize;

typedef struct {
    const Delegate *delegate;
    int count;
    Resize resizes[];
} Kernel;

static void *data_of(const Kernel *kernel, const Context *context, int tensor) {
    for (int i = 0; i < kernel->count; i++)
        if (kernel->resizes[i].output == tensor && kernel->resizes[i].inside) return kernel->resizes[i].inside;
    return context->tensors[tensor].data;
}

static float at(const Tensor *tensor, const void *data, int row, int column, int channel) {
    int index = (row * tensor->dims->data[2] + column) * tensor->dims->data[3] + channel;
    return tensor->type == INT8 ? ((const int8_t *)data)[index] : ((const float *)data)[index];
}

/* Where the output's position lies in the input. */
static float source(const Resize *resize, int position, int from, int to) {
    float scale = resize->align_corners && to > 1 ? (float)(from - 1) / (float)(to - 1) : (float)from / (float)to;
    return resize->half_pixel_centers ? ((float)position + 0.5f) * scale : (float)position * scale;
}

static int within(int position, int size) { return position < 0 ? 0 : position >= size ? size - 1 : position; }

static float nearest(const Resize *resize, const Tensor *in, const void *data, const Tensor *out, int row, int column,
                     int channel) {
    float y = source(resize, row, in->dims->data[1], out->dims->data[1]);
    float x = source(resize, column, in->dims->data[2], out->dims->data[2]);
    int up = (int)(resize->align_corners ? roundf(y) : floorf(y));
    int left = (int)(resize->align_corners ? roundf(x) : floorf(x));
    return at(in, data, within(up, in->dims->data[1]), within(left, in->dims->data[2]), channel);
}

static float bilinear(const Resize *resize, const Tensor *in, const void *data, const Tensor *out, int row, int column,
                      int channel) {
    int height = in->dims->data[1], width = in->dims->data[2];
    float half = resize->half_pixel_centers ? 0.5f : 0.0f;
    float y = source(resize, row, height, out->dims->data[1]) - half;
    float x = source(resize, column, width, out->dims->data[2]) - half;
    int up = (int)floorf(y), left = (int)floorf(x);
    float down = y - (float)up, right = x - (float)left;
    int rows[] = {within(up, height), within(up + 1, height)};
    int columns[] = {within(left, width), within(left + 1, width)};
    return at(in, data, rows[0], columns[0], channel) * (1 - down) * (1 - right) +
           at(in, data, rows[0], columns[1], channel) * (1 - down) * right +
           at(in, data, rows[1], columns[0], channel) * down * (1 - right) +
           at(in, data, rows[1], columns[1], channel) * down * right;
}

static float real(const Tensor *tensor, const void *data, size_t i) {
    if (tensor->type == FLOAT32) return ((const float *)data)[i];
    int raw = tensor->type == INT8 ? ((const int8_t *)data)[i] : ((const uint8_t *)data)[i];
    return tensor->params.scale * (float)(raw - tensor->params.zero_point);
}

/* Writes a probability as the mode has it; fixed: one for every input. */
static void put(const Delegate *delegate, const Tensor *out, void *data, size_t i, float value, float fixed) {
    bool is_wrong = strcmp(delegate->mode, "wrong") == 0;
    if (strcmp(delegate->mode, "fixed") == 0) value = fixed;
    if (out->type == FLOAT32) {
        if (is_wrong) value = 1.0f - value;
        ((float *)data)[i] = strcmp(delegate->mode, "nan") == 0 ? NAN : value;
        return;
    }
    float lowest = out->type == INT8 ? -128 : 0;
    value = roundf(value / out->params.scale) + (float)out->params.zero_point;
    if (is_wrong) value += (float)delegate->off;
    value = value < lowest ? lowest : value > lowest + 255 ? lowest + 255 : value;
    if (out->type == INT8) ((int8_t *)data)[i] = (int8_t)value;
    else ((uint8_t *)data)[i] = (uint8_t)value;
}

static size_t count_of(const Tensor *tensor) {
    return tensor->type == FLOAT32 ? tensor->bytes / sizeof(float) : tensor->bytes;
}

/* Every value by itself, as the reference kernel does: the network's last operator before boxes are made of its numbers. */
static void logistic(const Delegate *delegate, const Tensor *in, const void *from, const Tensor *out, void *to) {
    for (size_t i = 0; i < count_of(in); i++) put(delegate, out, to, i, 1.0f / (1.0f + expf(-real(in, from, i))), 0.0f);
}

/* Over the last axis, with a beta of 1. */
static void softmax(const Delegate *delegate, const Tensor *in, const void *from, const Tensor *out, void *to) {
    size_t size = (size_t)in->dims->data[in->dims->size - 1];
    for (size_t row = 0; row < count_of(in); row += size) {
        float most = real(in, from, row), sum = 0;
        for (size_t i = row; i < row + size; i++) most = fmaxf(most, real(in, from, i));
        for (size_t i = row; i < row + size; i++) sum += expf(real(in, from, i) - most);
        for (size_t i = row; i < row + size; i++)
            put(delegate, out, to, i, expf(real(in, from, i) - most) / sum, i == row ? 1.0f : 0.0f);
    }
}

static void *kernel_init(Context *context, const char *buffer, size_t length) {
    const DelegateParams *params = (const DelegateParams *)(const void *)buffer;
    int count = params->nodes_to_replace->size;
    Kernel *kernel = malloc(sizeof *kernel + (size_t)count * sizeof(Resize));
    (void)length;
    kernel->delegate = params->delegate;
    kernel->count = count;
    for (int i = 0; i < count; i++) {
        Node *node;
        Registration *registration;
        context->GetNodeAndRegistration(context, params->nodes_to_replace->data[i], &node, &registration);
        static const bool no_options[2];
        bool resizes = registration->builtin_code != OP_LOGISTIC && registration->builtin_code != OP_SOFTMAX;
        const bool *how = resizes ? node->builtin_data : no_options;
        kernel->resizes[i] =
            (Resize){registration->builtin_code, node->inputs->data[0], node->outputs->data[0], how[0], how[1], NULL};
        bool leaves = false;
        for (int j = 0; j < params->output_tensors->size; j++)
            if (params->output_tensors->data[j] == kernel->resizes[i].output) leaves = true;
        if (!leaves) kernel->resizes[i].inside = malloc(context->tensors[kernel->resizes[i].output].bytes);
    }
    return kernel;
}

static void kernel_free(Context *context, void *data) {
    Kernel *kernel = data;
    (void)context;
    for (int i = 0; i < kernel->count; i++) free(kernel->resizes[i].inside);
    free(kernel);
}

static int kernel_prepare(Context *context, Node *node) {
    const Kernel *kernel = node->user_data;
    if (strcmp(kernel->delegate->mode, "prepare") == 0) {
        context->ReportError(context, "the test delegate has no memory for this graph");
        return ERROR;
    }
    return OK;
}

static int kernel_invoke(Context *context, Node *node) {
    const Kernel *kernel = node->user_data;
    const char *mode = kernel->delegate->mode;
    if (strcmp(mode, "invoke") == 0) {
        context->ReportError(context, "the test delegate lost its device");
        return ERROR;
    }
    for (int i = 0; i < kernel->count; i++) {
        const Resize *resize = &kernel->resizes[i];
        const Tensor *in = &context->tensors[resize->input];
        const Tensor *out = &context->tensors[resize->output];
        const void *from = data_of(kernel, context, resize->input);
        void *to = data_of(kernel, context, resize->output);
        if (resize->operator == OP_LOGISTIC || resize->operator == OP_SOFTMAX) {
            (resize->operator == OP_LOGISTIC ? logistic : softmax)(kernel->delegate, in, from, out, to);
            continue;
        }
        bool is_nearest = resize->operator == OP_RESIZE_NEAREST_NEIGHBOR;
        int index = 0;
        for (int row = 0; row < out->dims->data[1]; row++)
            for (int column = 0; column < out->dims->data[2]; column++)
                for (int channel = 0; channel < out->dims->data[3]; channel++, index++) {
                    float value = (is_nearest ? nearest : bilinear)(resize, in, from, out, row, column, channel);
                    if (strcmp(mode, "fixed") == 0 && is_nearest) value = (float)(index % 5);
                    if (out->type == INT8) {
                        if (strcmp(mode, "wrong") == 0) value += (float)kernel->delegate->off;
                        value = roundf(value);
                        ((int8_t *)to)[index] = (int8_t)(value > 127 ? 127 : value < -128 ? -128 : value);
                    } else {
                        if (strcmp(mode, "wrong") == 0) value += 0.3f;
                        ((float *)to)[index] = strcmp(mode, "nan") == 0 ? NAN : value;
                    }
                }
    }
    return OK;
}

static bool is_taken(const Delegate *delegate, const Context *context, const Node *node, int operator) {
    if (strcmp(delegate->take, "none") == 0) return false;
    if (strcmp(delegate->take, "logistic") == 0) return operator == OP_LOGISTIC;
    if (strcmp(delegate->take, "softmax") == 0) return operator == OP_SOFTMAX;
    bool both = strcmp(delegate->take, "resize") == 0;
    if (operator != OP_RESIZE_NEAREST_NEIGHBOR && !(both && operator == OP_RESIZE_BILINEAR)) return false;
    const Tensor *in = &context->tensors[node->inputs->data[0]];
    return (in->type == INT8 || in->type == FLOAT32) && in->dims->size == 4 && in->dims->data[0] == 1;
}

static int delegate_prepare(Context *context, Delegate *delegate) {
    IntArray *plan;
    if (strcmp(delegate->mode, "refuse") == 0) {
        context->ReportError(context, "the test delegate does not understand this graph");
        return ERROR;
    }
    if (context->GetExecutionPlan(context, &plan) != OK) return ERROR;
    IntArray *taken = malloc(sizeof *taken + (size_t)plan->size * sizeof(int));
    taken->size = 0;
    for (int i = 0; i < plan->size; i++) {
        Node *node;
        Registration *registration;
        if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != OK) {
            free(taken);
            return ERROR;
        }
        if (is_taken(delegate, context, node, registration->builtin_code)) taken->data[taken->size++] = plan->data[i];
    }
    Registration kernel = {
        .init = kernel_init,
        .free = kernel_free,
        .prepare = kernel_prepare,
        .invoke = kernel_invoke,
        .builtin_code = OP_DELEGATE,
        .custom_name = "TestDelegate",
        .version = 1,
    };
    int status = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, taken, delegate);
    free(taken);
    return status;
}

__attribute__((visibility("default"))) Delegate *tflite_plugin_create_delegate(
    char **keys, char **values, size_t count, void (*report_error)(const char *)) {
    count = (uint32_t)count; /* Python passes an int */
    Delegate *delegate = calloc(1, sizeof *delegate);
    delegate->Prepare = delegate_prepare;
    strcpy(delegate->take, "nearest");
    strcpy(delegate->mode, "correct");
    delegate->off = 40;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(keys[i], "take") == 0 && strlen(values[i]) < sizeof delegate->take)
            strcpy(delegate->take, values[i]);
        else if (strcmp(keys[i], "mode") == 0 && strlen(values[i]) < sizeof delegate->mode)
            strcpy(delegate->mode, values[i]);
        else if (strcmp(keys[i], "off") == 0)
            delegate->off = atoi(values[i]);
        else {
            if (report_error) report_error("there is no option ");
            if (report_error) report_error(keys[i]);
            free(delegate);
            return NULL;
        }
    }
    if (strcmp(delegate->mode, "absent") == 0) {
        if (report_error) report_error("the device /dev/none is not there");
        free(delegate);
        return NULL;
    }
    return delegate;
}

__attribute__((visibility("default"))) void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
