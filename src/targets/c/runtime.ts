/**
 * The parts of an artifact's C that are the same for every model: which instructions this processor has, and what needs an
 * operating system (threads, mapped files, a clock). They are written into `model.c` as they stand. The protocol of the
 * pool is that of src/targets/wasm/threads.ts: a job is opened by a new value of `state`, workers join it by
 * compare-and-exchange while it is open, and the leader waits for those who joined and for nobody else.
 */

/** Must come before the first `#include`: without it strict C11 hides what POSIX adds to the headers. */
export const featureMacros = `#if !defined(TW_FREESTANDING) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif
`;

/**
 * `tw_cpu_level()`: 0 portable, 1 SSE4.2, 2 AVX2 (with FMA, F16C, BMI1 and BMI2), 3 AVX-512 (F, DQ, BW, VL). The upper two only
 * where the operating system saves their registers. Freestanding.
 */
export const levelDetection = `/* The widest level that this processor and its operating system have: 0 portable, 1 sse42, 2 avx2, 3 avx512. */
#if defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>
static int tw_cpu_level(void) {
  const unsigned sse42 = 1u << 9 | 1u << 19 | 1u << 20 | 1u << 23; /* SSSE3, SSE4.1, SSE4.2, POPCNT */
  const unsigned avx = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29; /* FMA, OSXSAVE, AVX, F16C */
  const unsigned avx2 = 1u << 3 | 1u << 5 | 1u << 8; /* BMI1, AVX2, BMI2 */
  const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & sse42) != sse42) return 0;
  if ((c & avx) != avx || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & avx2) != avx2) return 1;
  /* Registers that the operating system saves: SSE and AVX are bits 1 and 2, AVX-512 is bits 5 to 7. */
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0x6u) != 0x6u) return 1;
  return (b & avx512) == avx512 && (low & 0xe0u) == 0xe0u ? 3 : 2;
}
#else
static int tw_cpu_level(void) {
  return 0;
}
#endif
`;

/** What a model needs of the hosted part; only that is written, so that no function stands unused. */
export interface HostedParts {
  /** `tw_pool_start`, `tw_pool_stop`, `tw_share`. */
  readonly pool: boolean;
  /** `tw_map`, `tw_unmap`. */
  readonly files: boolean;
  /** `tw_clock`. */
  readonly clock: boolean;
}

/** The hosted part, with its includes; belongs inside `#ifndef TW_FREESTANDING`. */
export function hostedRuntime(parts: HostedParts): string {
  const texts = [
    platform,
    ...(parts.clock || parts.pool ? [clock] : []),
    ...(parts.files ? [files] : []),
    ...(parts.pool ? [pool, poolThreads, poolElsewhere] : []),
  ];
  return texts.join("\n");
}

/** Most arguments of a launch that threads share. */
export const mostSharedArgs = 128;
/** Most threads of a pool; more are not started. */
export const mostPoolThreads = 64;

const platform = `#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#if defined(__unix__) || (defined(__APPLE__) && defined(__MACH__))
#define TW_POSIX 1
#endif
`;

const clock = `/* Seconds since some moment; never goes back where the system has such a clock. */
static double tw_clock(void) {
  struct timespec t;
#ifdef CLOCK_MONOTONIC
  if (clock_gettime(CLOCK_MONOTONIC, &t) != 0) return 0.0;
#else
  if (timespec_get(&t, TIME_UTC) != TIME_UTC) return 0.0;
#endif
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
`;

const files = `/* A whole file of exactly that many bytes, read-only and 64-byte aligned; NULL when it cannot be had or has another size. */
#ifdef TW_POSIX
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
static const unsigned char *tw_map(const char *path, size_t bytes, void **handle) {
  static const _Alignas(64) unsigned char nothing[64] = {0};
  *handle = NULL;
  if (bytes == 0) return nothing;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return NULL;
  struct stat about;
  void *place = MAP_FAILED;
  if (fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_size >= 0 && (unsigned long long)about.st_size == bytes)
    place = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (place == MAP_FAILED) return NULL;
  *handle = place;
  return (const unsigned char *)place;
}
static void tw_unmap(void *handle, size_t bytes) {
  if (handle != NULL) munmap(handle, bytes);
}
#else
#include <stdint.h>
#include <stdio.h>
static const unsigned char *tw_map(const char *path, size_t bytes, void **handle) {
  static const _Alignas(64) unsigned char nothing[64] = {0};
  *handle = NULL;
  if (bytes == 0) return nothing;
  if (bytes > SIZE_MAX - 64) return NULL;
  FILE *file = fopen(path, "rb");
  if (file == NULL) return NULL;
  unsigned char *memory = (unsigned char *)malloc(bytes + 63);
  unsigned char *place = memory == NULL ? NULL : memory + (64 - (uintptr_t)memory % 64) % 64;
  int whole = place != NULL && fread(place, 1, bytes, file) == bytes && fgetc(file) == EOF && !ferror(file);
  fclose(file);
  if (!whole) {
    free(memory);
    return NULL;
  }
  *handle = memory;
  return place;
}
static void tw_unmap(void *handle, size_t bytes) {
  (void)bytes;
  free(handle);
}
#endif
`;

/** Types, and the part that every thread runs. */
const pool = `/* Threads. An argument of a kernel: memory that is written, memory that is only read, or a number. */
union tw_arg {
  unsigned char *p;
  const unsigned char *c;
  int32_t i;
};
typedef void (*tw_task)(const union tw_arg *args, int32_t begin, int32_t end);
struct tw_pool;

enum { tw_most_args = ${mostSharedArgs}, tw_most_threads = ${mostPoolThreads} };

/* What a launch is about. The leader writes it while no job is open, workers read it after they have joined. */
struct tw_job {
  tw_task task;
  const union tw_arg *args;
  int n_args;
  const int *scratch_arg;
  int n_scratch;
  unsigned char *scratch_base;
  size_t scratch_step;
  const size_t *scratch_offset;
  int32_t count;
  int32_t grain;
  int32_t row;
};

/* The arguments as one thread uses them: scratch arguments point to memory of its own. */
static const union tw_arg *tw_own_args(const struct tw_job *job, int thread, union tw_arg *own) {
  if (job->n_scratch == 0) return job->args;
  for (int i = 0; i < job->n_args; i++) own[i] = job->args[i];
  unsigned char *mine = job->scratch_base + (size_t)thread * job->scratch_step;
  for (int k = 0; k < job->n_scratch; k++) own[job->scratch_arg[k]].p = mine + job->scratch_offset[k];
  return own;
}

/* Runs the whole job on this thread. */
static void tw_run_alone(const struct tw_job *job) {
  union tw_arg own[tw_most_args];
  job->task(tw_own_args(job, 0, own), 0, job->count);
}
`;

const poolThreads = `#if defined(TW_POSIX) && !defined(__STDC_NO_ATOMICS__)
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#if defined(__linux__) && !defined(TW_NO_FUTEX)
#include <sys/syscall.h>
#include <unistd.h>
#ifdef SYS_futex
#define TW_FUTEX 1
/* FUTEX_WAIT_PRIVATE and FUTEX_WAKE_PRIVATE; the header that has them, linux/futex.h, is not installed everywhere. */
enum { tw_futex_wait = 128, tw_futex_wake = 129 };
#endif
#endif

/* How long a thread that has nothing to do looks for work before it sleeps. */
#ifndef TW_SPIN_SECONDS
#define TW_SPIN_SECONDS 100e-6
#endif

/* Bits of a pool's state: how many workers have joined the job, whether it is open, whether the pool ends, the job's number. */
enum { tw_joined = 0xff, tw_open = 0x100, tw_stop = 0x200, tw_next_job = 0x400 };

/* What threads wait for, alone in its cache line. */
struct tw_word {
  _Alignas(64) atomic_uint value;
};

struct tw_pool {
  struct tw_word state;
  struct tw_word next[tw_most_threads]; /* how many pieces of each thread's share are taken */
  struct tw_word sleeping; /* workers that sleep, or are about to */
  struct tw_word waiting; /* 1 while the leader sleeps until the last worker is done */
  struct tw_job job;
  int workers;
  atomic_int started; /* numbers the workers */
#ifndef TW_FUTEX
  pthread_mutex_t mutex;
  pthread_cond_t changed;
#endif
  pthread_t threads[tw_most_threads];
};

static inline void tw_relax(void) {
#if defined(__GNUC__) && defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Sleeps while the word has that value; may return early. */
static void tw_sleep(struct tw_pool *pool, struct tw_word *word, unsigned value) {
#ifdef TW_FUTEX
  (void)pool;
  syscall(SYS_futex, (void *)&word->value, tw_futex_wait, value, NULL, NULL, 0);
#else
  pthread_mutex_lock(&pool->mutex);
  if (atomic_load(&word->value) == value) pthread_cond_wait(&pool->changed, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
#endif
}

/* Wakes threads that sleep on the word, which has changed already. */
static void tw_wake(struct tw_pool *pool, struct tw_word *word, int most) {
#ifdef TW_FUTEX
  (void)pool;
  syscall(SYS_futex, (void *)&word->value, tw_futex_wake, most, NULL, NULL, 0);
#else
  (void)word;
  (void)most;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->changed);
  pthread_mutex_unlock(&pool->mutex);
#endif
}

/* Where a thread's part of each row begins. */
static unsigned tw_share_begin(unsigned row, unsigned thread, unsigned threads) {
  return (unsigned)((uint64_t)row * thread / threads);
}

/* Takes pieces until none is left: first those of the thread's own share, so that what one kernel left in a core's caches is there
   for the next, then of the others'. */
static void tw_take(struct tw_pool *pool, int thread) {
  const struct tw_job *job = &pool->job;
  union tw_arg own[tw_most_args];
  const union tw_arg *args = tw_own_args(job, thread, own);
  const unsigned threads = (unsigned)pool->workers + 1;
  const unsigned row = (unsigned)job->row, rows = (unsigned)job->count / row, grain = (unsigned)job->grain;
  for (unsigned k = 0; k < threads; k++) {
    const unsigned of = ((unsigned)thread + k) % threads;
    const unsigned first = tw_share_begin(row, of, threads), part = tw_share_begin(row, of + 1, threads) - first;
    /* Pieces do not cross the ends of a part. */
    const unsigned each = part / grain + (part % grain != 0);
    for (;;) {
      const unsigned piece = atomic_fetch_add_explicit(&pool->next[of].value, 1, memory_order_relaxed);
      if (each == 0 || piece / each >= rows) break;
      const unsigned from = piece % each * grain, n = part - from > grain ? grain : part - from;
      const int32_t begin = (int32_t)(piece / each * row + first + from);
      job->task(args, begin, begin + (int32_t)n);
    }
  }
}

/* Has a thread that looks for work looked long enough? The first call starts the clock: *until is negative before. */
static int tw_long_enough(double *until) {
  double now = tw_clock();
  if (*until < 0.0) *until = now + TW_SPIN_SECONDS;
  return now >= *until || now + 2.0 * TW_SPIN_SECONDS < *until;
}

/* Looks for a while for an open job other than the one seen last, or for the end; gives the state seen last. */
static unsigned tw_watch(struct tw_pool *pool, unsigned seen) {
  double until = -1.0;
  for (unsigned looks = 1;; looks++) {
    unsigned now = atomic_load_explicit(&pool->state.value, memory_order_acquire);
    if ((now & tw_stop) != 0 || ((now & tw_open) != 0 && now / tw_next_job != seen)) return now;
    tw_relax();
    if (looks % 64 != 0) continue;
    if (tw_long_enough(&until)) return now;
  }
}

/* Leaves a job; the last one to leave it after it was closed wakes the leader. */
static void tw_leave(struct tw_pool *pool) {
  unsigned before = atomic_fetch_sub(&pool->state.value, 1);
  if ((before & (tw_joined | tw_open)) != 1 || atomic_load(&pool->waiting.value) == 0) return;
  atomic_store(&pool->waiting.value, 0);
  tw_wake(pool, &pool->waiting, 1);
}

/* A worker's life. */
static void *tw_work(void *given) {
  struct tw_pool *pool = (struct tw_pool *)given;
  int thread = 1 + atomic_fetch_add(&pool->started, 1);
  unsigned seen = ~0u;
  for (;;) {
    unsigned now = tw_watch(pool, seen);
    if ((now & tw_stop) != 0) return NULL;
    if ((now & tw_open) != 0 && now / tw_next_job != seen) {
      /* Succeeds only while this very job is open, so that nobody joins one whose data may change. */
      if (!atomic_compare_exchange_strong(&pool->state.value, &now, now + 1)) continue;
      seen = now / tw_next_job;
      tw_take(pool, thread);
      tw_leave(pool);
      continue;
    }
    /* First say so, then sleep unless the state has changed: the leader does it the other way round. */
    atomic_fetch_add(&pool->sleeping.value, 1);
    tw_sleep(pool, &pool->state, now);
    atomic_fetch_sub(&pool->sleeping.value, 1);
  }
}

/* The leader waits until all workers that joined are done. */
static void tw_finish(struct tw_pool *pool) {
  double until = -1.0;
  for (unsigned looks = 1;; looks++) {
    if ((atomic_load_explicit(&pool->state.value, memory_order_acquire) & tw_joined) == 0) return;
    tw_relax();
    if (looks % 64 != 0) continue;
    if (tw_long_enough(&until)) break;
  }
  for (;;) {
    atomic_store(&pool->waiting.value, 1);
    if ((atomic_load(&pool->state.value) & tw_joined) == 0) break;
    tw_sleep(pool, &pool->waiting, 1);
  }
  atomic_store(&pool->waiting.value, 0);
}

/* Runs task over [0, count) in pieces of grain, on the caller and the pool's workers; returns when all is done. The range is
   rows of so many iterations, of each of which a thread's share is the same part; 0: one row. */
static void tw_share(struct tw_pool *pool, tw_task task, const union tw_arg *args, int n_args, const int *scratch_arg, int n_scratch,
                     unsigned char *const scratch_base, size_t scratch_step, const size_t *scratch_offset, int32_t count, int32_t grain,
                     int32_t row) {
  const struct tw_job job = {task, args, n_args, scratch_arg, n_scratch, scratch_base, scratch_step, scratch_offset, count, grain < 1 ? 1 : grain, row < 1 ? count : row};
  if (count <= 0) return;
  if (pool == NULL || count <= job.grain) {
    tw_run_alone(&job);
    return;
  }
  pool->job = job;
  for (int i = 0; i <= pool->workers; i++) atomic_store_explicit(&pool->next[i].value, 0, memory_order_relaxed);
  /* No worker changes the state of a closed job that nobody is in. */
  unsigned old = atomic_load_explicit(&pool->state.value, memory_order_relaxed);
  atomic_store(&pool->state.value, (old & ~(unsigned)(tw_joined | tw_open)) + tw_next_job + tw_open);
  if (atomic_load(&pool->sleeping.value) != 0) {
    int others = (count - 1) / job.grain;
    tw_wake(pool, &pool->state, others < pool->workers ? others : pool->workers);
  }
  tw_take(pool, 0);
  if ((atomic_fetch_and(&pool->state.value, ~(unsigned)tw_open) & tw_joined) != 0) tw_finish(pool);
}

/* Ends the workers and frees the pool; no job may be running. */
static void tw_pool_stop(struct tw_pool *pool) {
  if (pool == NULL) return;
  atomic_fetch_or(&pool->state.value, tw_stop);
  tw_wake(pool, &pool->state, tw_most_threads);
  for (int i = 0; i < pool->workers; i++) pthread_join(pool->threads[i], NULL);
#ifndef TW_FUTEX
  pthread_cond_destroy(&pool->changed);
  pthread_mutex_destroy(&pool->mutex);
#endif
  free(pool);
}

/* A pool of so many threads, of which the caller is one; NULL when it would have no workers. */
static struct tw_pool *tw_pool_start(int threads) {
  if (threads < 2) return NULL;
  const int wanted = (threads < tw_most_threads ? threads : tw_most_threads) - 1;
  struct tw_pool *pool = (struct tw_pool *)aligned_alloc(64, (sizeof(struct tw_pool) + 63) / 64 * 64);
  if (pool == NULL) return NULL;
  atomic_init(&pool->state.value, 0);
  for (int i = 0; i < tw_most_threads; i++) atomic_init(&pool->next[i].value, 0);
  atomic_init(&pool->sleeping.value, 0);
  atomic_init(&pool->waiting.value, 0);
  atomic_init(&pool->started, 0);
  pool->workers = 0;
#ifndef TW_FUTEX
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->changed, NULL);
#endif
  /* Signals are for the program's own threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, (size_t)1 << 20);
  while (pool->workers < wanted && pthread_create(&pool->threads[pool->workers], &attributes, tw_work, pool) == 0) pool->workers++;
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (pool->workers > 0) return pool;
  tw_pool_stop(pool);
  return NULL;
}
`;

/** Where there are no POSIX threads, all runs on the caller. */
const poolElsewhere = `#else
static struct tw_pool *tw_pool_start(int threads) {
  (void)threads;
  return NULL;
}
static void tw_pool_stop(struct tw_pool *pool) {
  (void)pool;
}
static void tw_share(struct tw_pool *pool, tw_task task, const union tw_arg *args, int n_args, const int *scratch_arg, int n_scratch,
                     unsigned char *const scratch_base, size_t scratch_step, const size_t *scratch_offset, int32_t count, int32_t grain,
                     int32_t row) {
  const struct tw_job job = {task, args, n_args, scratch_arg, n_scratch, scratch_base, scratch_step, scratch_offset, count, grain, row};
  (void)pool;
  if (count > 0) tw_run_alone(&job);
}
#endif
`;
