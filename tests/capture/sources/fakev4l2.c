/*
 * A webcam in user space: preloaded into a process, it answers for one device path as a USB video camera
 * would, so that OpenCV's own V4L2 back end runs where there is neither a camera nor a kernel module.
 *
 *     gcc -shared -fPIC -O2 -Wall -Wextra -o fakev4l2.so fakev4l2.c -ldl -lpthread
 *     LD_PRELOAD=./fakev4l2.so FAKEV4L2_DEVICE=/dev/video42 FAKEV4L2_FRAMES=frames.bin python ...
 *
 * Environment:
 *     FAKEV4L2_DEVICE   path it answers for
 *     FAKEV4L2_FRAMES   pictures, each [u32 length][JPEG]; picture n is number n modulo their count
 *     FAKEV4L2_WIDTH, FAKEV4L2_HEIGHT, FAKEV4L2_FPS   its only size, and its highest rate
 *     FAKEV4L2_LOSE     "12,13,40": pictures it takes but never hands over
 *     FAKEV4L2_PADDING  zero bytes behind every JPEG
 *     FAKEV4L2_YUYV     set: it has no MJPG
 *     FAKEV4L2_DENY     set: opening fails for want of permission
 *     FAKEV4L2_CONTROL  prefix of files that, while they exist, make it misbehave:
 *                       <prefix>.unplug  <prefix>.stall  <prefix>.busy
 *
 * Pictures are stamped with the ideal time of their number on CLOCK_MONOTONIC, however late the thread wakes,
 * and wait for a free buffer: the losses are those that were asked for, however busy the machine is.
 * One device, one stream, any number of open handles; 64-bit Linux with glibc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_BUFFERS 32
#define MAX_HANDLES 16
#define MAX_FRAMES 4096
#define BUFFER_BYTES (1u << 20)
#define NANOSECONDS 1000000000LL

struct queue {
    int entry[MAX_BUFFERS];
    int count;
};

static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    volatile bool streaming;
    int handles[MAX_HANDLES];
    int handle_count;
    int owner; /* the handle that has buffers, -1 for none */
    int fps;
    uint32_t pixel_format;
    int buffer_count;
    uint8_t *memory;
    struct v4l2_buffer filled[MAX_BUFFERS];
    struct queue waiting; /* for a picture */
    struct queue done;    /* for the reader */
    uint8_t *file;
    uint32_t frame_count;
    uint32_t offset[MAX_FRAMES], length[MAX_FRAMES];
} camera = {.lock = PTHREAD_MUTEX_INITIALIZER, .owner = -1};

#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

/* ---- settings ---- */

static int number_setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int width(void) { return number_setting("FAKEV4L2_WIDTH", 640); }
static int height(void) { return number_setting("FAKEV4L2_HEIGHT", 480); }
static int highest_fps(void) { return number_setting("FAKEV4L2_FPS", 30); }

static bool told(const char *what) {
    const char *prefix = getenv("FAKEV4L2_CONTROL");
    char path[4096];
    if (!prefix) return false;
    snprintf(path, sizeof path, "%s.%s", prefix, what);
    return access(path, F_OK) == 0;
}

static bool loses(uint32_t number) {
    const char *at = getenv("FAKEV4L2_LOSE");
    while (at && *at) {
        char *end;
        if (strtoul(at, &end, 10) == number && end != at) return true;
        at = *end == ',' ? end + 1 : NULL;
    }
    return false;
}

static void load_frames(void) {
    const char *path = getenv("FAKEV4L2_FRAMES");
    if (camera.file || !path) return;
    FILE *file = fopen(path, "rb");
    if (!file) return;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    camera.file = malloc(size);
    size = fread(camera.file, 1, size, file);
    fclose(file);
    for (size_t at = 0; at + 4 <= size && camera.frame_count < MAX_FRAMES;) {
        uint32_t length;
        memcpy(&length, camera.file + at, 4);
        if (length > size - at - 4 || length > BUFFER_BYTES) break;
        camera.offset[camera.frame_count] = (uint32_t)at + 4;
        camera.length[camera.frame_count++] = length;
        at += 4 + length;
    }
}

/* ---- the camera's own thread ---- */

static int take(struct queue *queue) {
    int first = queue->entry[0];
    memmove(queue->entry, queue->entry + 1, sizeof(int) * (size_t)--queue->count);
    return first;
}

static void wake_reader(void) {
    uint64_t one = 1;
    for (int i = 0; i < camera.handle_count; i++)
        if (write(camera.handles[i], &one, sizeof one) < 0) continue;
}

/* Grey whose brightness is the picture's number. */
static uint32_t draw_yuyv(uint8_t *to, uint32_t number) {
    uint32_t size = (uint32_t)(width() * height() * 2);
    for (uint32_t i = 0; i < size; i += 2) {
        to[i] = (uint8_t)(16 + number % 200);
        to[i + 1] = 128;
    }
    return size;
}

static uint32_t copy_jpeg(uint8_t *to, uint32_t number) {
    uint32_t index = number % camera.frame_count;
    uint32_t padding = (uint32_t)number_setting("FAKEV4L2_PADDING", 0);
    memcpy(to, camera.file + camera.offset[index], camera.length[index]);
    memset(to + camera.length[index], 0, padding);
    return camera.length[index] + padding;
}

static void deliver(uint32_t number, int64_t time_ns) {
    pthread_mutex_lock(&camera.lock);
    int index = take(&camera.waiting);
    uint8_t *to = camera.memory + (size_t)index * BUFFER_BYTES;
    struct v4l2_buffer *buffer = &camera.filled[index];
    bool jpeg = camera.pixel_format == V4L2_PIX_FMT_MJPEG && camera.frame_count;
    buffer->bytesused = jpeg ? copy_jpeg(to, number) : draw_yuyv(to, number);
    buffer->sequence = number;
    buffer->timestamp.tv_sec = time_ns / NANOSECONDS;
    buffer->timestamp.tv_usec = time_ns % NANOSECONDS / 1000;
    camera.done.entry[camera.done.count++] = index;
    pthread_mutex_unlock(&camera.lock);
    wake_reader();
}

static bool wait_for_buffer(void) {
    const struct timespec moment = {0, NANOSECONDS / 1000};
    while (camera.streaming) {
        pthread_mutex_lock(&camera.lock);
        bool free = camera.waiting.count > 0;
        pthread_mutex_unlock(&camera.lock);
        if (free) return true;
        nanosleep(&moment, NULL);
    }
    return false;
}

static void *run(void *unused) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t start_ns = now.tv_sec * NANOSECONDS + now.tv_nsec;
    for (uint32_t number = 0; camera.streaming; number++) {
        int64_t due_ns = start_ns + (number + 1) * NANOSECONDS / camera.fps;
        struct timespec due = {due_ns / NANOSECONDS, due_ns % NANOSECONDS};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        if (told("unplug")) {
            wake_reader();
            break;
        }
        if (!told("stall") && !loses(number) && wait_for_buffer()) deliver(number, due_ns);
    }
    return unused;
}

static void stop(void) {
    if (camera.streaming) {
        camera.streaming = false;
        pthread_join(camera.thread, NULL);
    }
    camera.waiting.count = camera.done.count = 0;
    uint64_t count;
    for (int i = 0; i < camera.handle_count; i++)
        while (read(camera.handles[i], &count, sizeof count) > 0) continue;
}

/* ---- opening and closing ---- */

static bool is_camera(const char *path) {
    const char *device = getenv("FAKEV4L2_DEVICE");
    return path && device && strcmp(path, device) == 0;
}

static int handle_index(int fd) {
    for (int i = 0; i < camera.handle_count; i++)
        if (camera.handles[i] == fd) return i;
    return -1;
}

static int open_camera(void) {
    if (getenv("FAKEV4L2_DENY")) return errno = EACCES, -1;
    if (told("unplug")) return errno = ENOENT, -1;
    if (camera.handle_count == MAX_HANDLES) return errno = EMFILE, -1;
    load_frames();
    if (!camera.memory) {
        camera.memory = REAL(mmap)(NULL, (size_t)MAX_BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        camera.pixel_format = V4L2_PIX_FMT_YUYV;
        camera.fps = highest_fps();
    }
    int fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
    camera.handles[camera.handle_count++] = fd;
    return fd;
}

#define DEFINE_OPEN(name)                                        \
    int name(const char *path, int flags, ...) {                 \
        va_list arguments;                                       \
        va_start(arguments, flags);                              \
        int mode = va_arg(arguments, int);                       \
        va_end(arguments);                                       \
        return is_camera(path) ? open_camera() : REAL(name)(path, flags, mode); \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

int close(int fd) {
    int index = handle_index(fd);
    if (index >= 0) {
        if (fd == camera.owner) {
            stop();
            camera.owner = -1;
        }
        camera.handles[index] = camera.handles[--camera.handle_count];
    }
    return REAL(close)(fd);
}

#define DEFINE_MMAP(name, offset_type)                                                         \
    void *name(void *at, size_t length, int protection, int flags, int fd, offset_type offset) { \
        if (handle_index(fd) >= 0) return camera.memory + offset;                              \
        return REAL(name)(at, length, protection, flags, fd, offset);                          \
    }
DEFINE_MMAP(mmap, off_t)
DEFINE_MMAP(mmap64, off64_t)

int munmap(void *at, size_t length) {
    uint8_t *byte = at;
    if (camera.memory && byte >= camera.memory && byte < camera.memory + (size_t)MAX_BUFFERS * BUFFER_BYTES)
        return 0;
    return REAL(munmap)(at, length);
}

/* ---- what a driver answers ---- */

static int fail(int error) {
    errno = error;
    return -1;
}

static int query_capability(struct v4l2_capability *answer) {
    memset(answer, 0, sizeof *answer);
    strcpy((char *)answer->driver, "uvcvideo");
    strcpy((char *)answer->card, "Fake Webcam");
    strcpy((char *)answer->bus_info, "usb-fake-1");
    answer->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    answer->capabilities = answer->device_caps | V4L2_CAP_DEVICE_CAPS;
    return 0;
}

static int enumerate_formats(struct v4l2_fmtdesc *entry) {
    const uint32_t formats[] = {V4L2_PIX_FMT_YUYV, V4L2_PIX_FMT_MJPEG};
    if (entry->index >= (getenv("FAKEV4L2_YUYV") ? 1u : 2u)) return fail(EINVAL);
    entry->pixelformat = formats[entry->index];
    return 0;
}

static int enumerate_sizes(struct v4l2_frmsizeenum *entry) {
    if (entry->index > 0) return fail(EINVAL);
    entry->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    entry->discrete.width = (uint32_t)width();
    entry->discrete.height = (uint32_t)height();
    return 0;
}

/* As USB cameras do: whatever is asked for, the nearest supported comes back, and no error. */
static int format(int fd, struct v4l2_format *format, bool set) {
    struct v4l2_pix_format *picture = &format->fmt.pix;
    uint32_t wished = picture->pixelformat;
    if (set && ((camera.owner >= 0 && camera.owner != fd) || told("busy"))) return fail(EBUSY);
    if (set && camera.streaming) return fail(EBUSY);
    if (set && wished == V4L2_PIX_FMT_MJPEG && !getenv("FAKEV4L2_YUYV")) camera.pixel_format = wished;
    if (set && wished == V4L2_PIX_FMT_YUYV) camera.pixel_format = wished;
    picture->width = (uint32_t)width();
    picture->height = (uint32_t)height();
    picture->pixelformat = camera.pixel_format;
    picture->field = V4L2_FIELD_NONE;
    picture->bytesperline = camera.pixel_format == V4L2_PIX_FMT_YUYV ? picture->width * 2 : 0;
    picture->sizeimage = BUFFER_BYTES;
    return 0;
}

static int rate(struct v4l2_streamparm *parameters, bool set) {
    struct v4l2_fract *interval = &parameters->parm.capture.timeperframe;
    if (set && interval->numerator) {
        int wished = (int)(interval->denominator / interval->numerator);
        camera.fps = wished < 1 ? 1 : wished > highest_fps() ? highest_fps() : wished;
    }
    parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    interval->numerator = 1;
    interval->denominator = (uint32_t)camera.fps;
    return 0;
}

static int request_buffers(int fd, struct v4l2_requestbuffers *request) {
    if (request->memory != V4L2_MEMORY_MMAP) return fail(EINVAL);
    if ((camera.owner >= 0 && camera.owner != fd) || told("busy")) return fail(EBUSY);
    if (request->count > MAX_BUFFERS) request->count = MAX_BUFFERS;
    camera.buffer_count = (int)request->count;
    camera.owner = request->count ? fd : -1;
    return 0;
}

static int describe_buffer(struct v4l2_buffer *buffer) {
    if ((int)buffer->index >= camera.buffer_count) return fail(EINVAL);
    buffer->length = BUFFER_BYTES;
    buffer->m.offset = buffer->index * BUFFER_BYTES;
    return 0;
}

static int queue_buffer(struct v4l2_buffer *buffer) {
    if ((int)buffer->index >= camera.buffer_count) return fail(EINVAL);
    pthread_mutex_lock(&camera.lock);
    camera.waiting.entry[camera.waiting.count++] = (int)buffer->index;
    pthread_mutex_unlock(&camera.lock);
    return 0;
}

static int dequeue_buffer(int fd, struct v4l2_buffer *buffer) {
    uint64_t ready;
    if (read(fd, &ready, sizeof ready) < 0) return fail(EAGAIN);
    pthread_mutex_lock(&camera.lock);
    int index = camera.done.count ? take(&camera.done) : -1;
    if (index >= 0) {
        buffer->index = (uint32_t)index;
        buffer->bytesused = camera.filled[index].bytesused;
        buffer->sequence = camera.filled[index].sequence;
        buffer->timestamp = camera.filled[index].timestamp;
        buffer->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    }
    pthread_mutex_unlock(&camera.lock);
    return index < 0 ? fail(EAGAIN) : describe_buffer(buffer);
}

static int start(int fd) {
    if (camera.owner != fd) return fail(EINVAL);
    if (camera.streaming) return 0;
    camera.streaming = true;
    return pthread_create(&camera.thread, NULL, run, NULL) ? fail(ENOMEM) : 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (handle_index(fd) < 0) return REAL(ioctl)(fd, request, argument);
    if (told("unplug")) return fail(ENODEV);
    switch ((uint32_t)request) {
    case VIDIOC_QUERYCAP: return query_capability(argument);
    case VIDIOC_ENUM_FMT: return enumerate_formats(argument);
    case VIDIOC_ENUM_FRAMESIZES: return enumerate_sizes(argument);
    case VIDIOC_G_FMT: return format(fd, argument, false);
    case VIDIOC_S_FMT: return format(fd, argument, true);
    case VIDIOC_G_PARM: return rate(argument, false);
    case VIDIOC_S_PARM: return rate(argument, true);
    case VIDIOC_REQBUFS: return request_buffers(fd, argument);
    case VIDIOC_QUERYBUF: return describe_buffer(argument);
    case VIDIOC_QBUF: return queue_buffer(argument);
    case VIDIOC_DQBUF: return dequeue_buffer(fd, argument);
    case VIDIOC_STREAMON: return start(fd);
    case VIDIOC_STREAMOFF: return stop(), 0;
    default: return fail(ENOTTY);
    }
}
