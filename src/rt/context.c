#include "rt/context.h"

#include <pthread.h>
#include <ucontext.h>

#ifdef CONTEXT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CONTEXT_TSAN
/* Declared here because gcc 12 ships no sanitizer/tsan_interface.h for them. */
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif

static inline void leaving(void **save, const struct context *to) {
#ifdef CONTEXT_ASAN
    __sanitizer_start_switch_fiber(save, to->stack, to->size);
#endif
#ifdef CONTEXT_TSAN
    __tsan_switch_to_fiber(to->thread_state, 0);
#endif
    (void)save;
    (void)to;
}

static inline void arrived(void *saved) {
#ifdef CONTEXT_ASAN
    __sanitizer_finish_switch_fiber(saved, NULL, NULL);
#endif
    (void)saved;
}

void context_of_thread(struct context *c) {
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &c->stack, &c->size);
        pthread_attr_destroy(&attributes);
    }
#ifdef CONTEXT_TSAN
    c->thread_state = __tsan_get_current_fiber();
#endif
}

void context_start(struct context *from, struct context *to, void (*entry)(void)) {
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = to->stack;
    start.uc_stack.ss_size = to->size;
    start.uc_link = NULL;
    makecontext(&start, entry, 0);
#ifdef CONTEXT_ASAN
    /* Frames that were left by context_leave may still be marked. */
    __asan_unpoison_memory_region(to->stack, to->size);
#endif
#ifdef CONTEXT_TSAN
    to->thread_state = __tsan_create_fiber(0);
#endif
    if (sigsetjmp(from->env, 0) == 0) {
        leaving(&from->fake_stack, to);
        setcontext(&start);
    }
    arrived(from->fake_stack);
}

void context_entered(void) { arrived(NULL); }

void context_switch(struct context *from, struct context *to) {
    if (sigsetjmp(from->env, 0) == 0) {
        leaving(&from->fake_stack, to);
        siglongjmp(to->env, 1);
    }
    arrived(from->fake_stack);
}

void context_leave(struct context *to) {
    leaving(NULL, to);
    siglongjmp(to->env, 1);
}

void context_ended(struct context *c) {
#ifdef CONTEXT_TSAN
    __tsan_destroy_fiber(c->thread_state);
#endif
    c->thread_state = NULL;
    c->fake_stack = NULL;
}
