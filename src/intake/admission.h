/* admission.h - how many connections may be open, in all of a listener and from one client.
 *
 * A client address is counted by its owner worker; the listener's count is one atomic number.
 */
#pragma once
#include "flow/flow.h"

enum admission { ADMISSION_OK, ADMISSION_LISTENER, ADMISSION_CLIENT };

/* From a fiber. OK: counted, until admission_leave. */
enum admission admission_enter(struct flow *, _Atomic unsigned *listener_count, const struct listener *,
                               const struct ip *client);
void admission_leave(struct flow *, _Atomic unsigned *listener_count, const struct ip *client);

/* The table of one worker; one for each. */
struct map *admission_free(struct map *);
