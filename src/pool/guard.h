/* guard.h - invariant 1: a class leaves only from a pool that carries it, and only from an address of that
 * pool.
 *
 * Called twice by whoever sends: before bind, and before each MAIL with the connection's getsockname() and
 * the configuration of that moment. A refusal closes the connection and parks the message with an alarm;
 * there is no fallback.
 */
#pragma once
#include "pool/pool.h"

enum { GUARD_REASON_SIZE = 320 };

/* 0, or SLUICE_EDENIED with an English reason in `ret_reason` (untouched on 0). Allowed is: the pool exists
 * at this node's site in `current`, carries `class`, and `local` is one of its addresses. Constant time, no
 * allocation, any thread. */
[[nodiscard]] int guard_check(const struct pools *current, enum mail_class class, struct str pool,
                              const struct ip *local, char ret_reason[GUARD_REASON_SIZE]);
