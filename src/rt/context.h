/* context.h - switching from one stack to another (inside this room only).
 *
 * makecontext to start, sigsetjmp(env, 0) and siglongjmp afterwards: portable, and without the system call
 * that swapcontext makes. AddressSanitizer and ThreadSanitizer are told of every switch.
 */
#pragma once
#include <setjmp.h>
#include <stddef.h>

/* meson.build defines CONTEXT_ASAN, CONTEXT_TSAN for context.c, which is compiled without instrumentation. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(CONTEXT_ASAN)
#define CONTEXT_ASAN
#endif
#if __has_feature(thread_sanitizer) && !defined(CONTEXT_TSAN)
#define CONTEXT_TSAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(CONTEXT_ASAN)
#define CONTEXT_ASAN
#endif
#if defined(__SANITIZE_THREAD__) && !defined(CONTEXT_TSAN)
#define CONTEXT_TSAN
#endif

struct context {
    sigjmp_buf env;
    void *stack; /* its lowest byte */
    size_t size;
    void *fake_stack;   /* ASan's */
    void *thread_state; /* TSan's */
};

/* The context of the calling thread itself. */
void context_of_thread(struct context *);

/* Leaves `from` and enters `entry` on the stack of `to`; returns when something switches back to `from`.
 * `entry` calls context_entered first and never returns: it ends with context_leave. */
void context_start(struct context *from, struct context *to, void (*entry)(void));
void context_entered(void);
void context_switch(struct context *from, struct context *to);
/* Like context_switch, but the stack of the caller will not be used again. */
_Noreturn void context_leave(struct context *to);
/* After context_leave, from another stack. */
void context_ended(struct context *);
