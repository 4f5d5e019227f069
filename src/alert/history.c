#include "alert/history.h"

#include "base/error.h"

int alert_history(const char *trace_dir, const struct alert_filter *filter,
                  void (*row)(void *arg, const struct alert_record *), void *arg) {
    (void)trace_dir, (void)filter, (void)row, (void)arg;
    return SLUICE_ENOTFOUND;
}
