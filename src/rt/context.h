/* context.h - switching from one stack to another (inside this room only).
 *
 * makecontext to start, sigsetjmp(env, 0) and siglongjmp afterwards: portable, and without the system call
 * that swapcontext makes. AddressSanitizer and ThreadSanitizer are told of every switch.
 */
#pragma once
#include <setjmp.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONTEXT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define CONTEXT_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define CONTEXT_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define CONTEXT_TSAN 1
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
