/* store.h - what the writing and the reading half of the store share. */
#pragma once
#include "trace/trace.h"

const char *store_folder(const struct trace *);
