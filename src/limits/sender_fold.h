/* sender_fold.h - the one sender behind reverse-paths that are made anew for each message or recipient. Pure.
 *
 *   bob+offers@                                      subaddress (RFC 5233)            bob@
 *   prvs=0123456789=bob@  btv1==01ab==bob@           BATV: what stands behind the tag bob@
 *   SRS0=HH=TT=example.org=ann@  SRS1=...            SRS: the forwarder               srs0@
 *   bounces+7-ann=example.org@                       VERP, the recipient written in   bounces@
 *   list-return-12-ann=example.org@  list-return-12@ the same of list servers         list@
 *   bounce-mc.us1_123.456-ann=example.org@           the same                         bounce@
 *   bounce-0188ab@  bounces_17@                      a number behind "bounce", "bounces", "return", "verp"
 *
 * It only ever joins names: whoever may write such a reverse-path may write the plain one as well, so nobody
 * gets a name by it that he could not have without. Domains are never changed.
 */
#pragma once
#include "base/str.h"

/* The mailbox that the reverse-path (wire form) stands for, as address_mailbox gives it (src/mail/address.h).
 * *ret_how (may be NULL): "VERP", "BATV", "SRS", or NULL when it is that already or has a subaddress only. In
 * the arena; what can't be read, and "" or "<>", stays as it is. */
struct str sender_fold(struct arena *, struct str reverse_path, const char **ret_how);
