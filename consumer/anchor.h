/*
 * The anchors of the audit trail. Every worker looks several times within
 * worker.anchor_ms whether the newest anchor is as old as that, and then
 * appends the next one, which covers what transactions that have all ended
 * appended since. One of the workers at a time; the database's clock decides.
 *
 * On a connection of its own: what an anchor reads is a minute's trail, and no
 * claim shall wait behind it. Whatever fails is tried again at the next look;
 * nothing else depends on it, so a worker goes on without anchors, with
 * foleni_anchor_age_seconds growing.
 */
#ifndef FOLENI_CONSUMER_ANCHOR_H
#define FOLENI_CONSUMER_ANCHOR_H

#include "common/config.h"
#include "common/loop.h"

struct anchor;

struct anchor *anchor_new(struct loop *loop, const struct config *cfg);
void anchor_free(struct anchor *anchor);

#endif
