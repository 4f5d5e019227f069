/* notify.h - tells the service manager how far the daemon is (sd_notify(3)): a unit of Type=notify counts as
 * started when it serves, not when it was executed. */
#pragma once

/* "READY=1", "STOPPING=1". Without NOTIFY_SOCKET in the environment nothing is told. */
void notify_manager(const char *state);
