/*
 * One letter of payments.dead, as an operator sees it, and the filter by which
 * letters are listed, replayed and discarded. Pure but for the command line.
 *
 * Headers are the writer's (consumer/tell.h); of two with one name the last one
 * counts, since the record's own stand before. Whatever cannot be read is ""
 * or 0: a letter is by its nature something that somebody could not read.
 */
#ifndef FOLENI_TOOLS_LETTER_H
#define FOLENI_TOOLS_LETTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/id.h"
#include "common/kafka.h"
#include "common/payment.h"
#include "tools/cli.h"

struct json_out;

enum letter_disposition {
#define LETTER(id, number, name, words) id = number,
#include "tools/letter.def"
#undef LETTER
    LETTERS_N
};

/** "ordered_again", and what it means for people. */
const char *letter_name(enum letter_disposition d);
const char *letter_words(enum letter_disposition d);

/** Where a letter stands in payments.dead. */
struct letter_place {
    int32_t partition;
    int64_t offset;
};

/** "3:1207", as `dead list` shows it. */
#define LETTER_PLACE_SIZE 36
void letter_place_write(struct letter_place place, char out[LETTER_PLACE_SIZE]);
MUST_CHECK enum err_code
letter_place_read(const char *text, struct letter_place *ret, struct err *err);

struct letter_view {
    struct letter_place place;
    bool has_payment; /* else no payment could be made of the record      */
    bool bodiless;    /* foleni-left-out: key, value, headers are missing */
    struct uuid payment, client; /* client: zeros = not said              */
    char class[41], code[65], stage[9];
    char message[513];
    char source_topic[KAFKA_TOPIC_SIZE];
    int32_t source_partition;
    int64_t source_offset;
    int64_t source_at, first_at, last_at; /* us since 1970, 0 = not said  */
    int attempts;
    int64_t replays;
    int64_t replay; /* the task that brought it back last, 0 = none       */
    int64_t msisdn; /* from the key, 0 = no phone's                       */
    /* from the value, when it was looked at (letter_read_body()):        */
    int64_t shortcode, amount;
    char reference[REFERENCE_MAX + 1];
};

void letter_read(const struct kafka_record *record, struct letter_view *ret);
void letter_read_body(const struct kafka_record *record,
                      struct letter_view *ret);

/** Which letters are meant. Texts are borrowed from the command line. */
struct letter_filter {
    const char *class, *code, *stage, *reference; /* NULL = any            */
    bool by_client;
    struct uuid client;
    int64_t msisdn, shortcode; /* 0 = any                                  */
    int64_t replays;           /* -1 = any                                 */
    int64_t from_at, to_at;    /* of the last failure; us, 0 = any         */
};

/** The options that a command with a filter takes. */
#define CLI_LETTERS                                                  \
    (CLI_CLASS | CLI_CODE | CLI_STAGE | CLI_REFERENCE | CLI_CLIENT | \
     CLI_PHONE | CLI_SHORTCODE | CLI_REPLAYS | CLI_FROM | CLI_TO)

/** ERR_USAGE says which one cannot be read. */
MUST_CHECK enum err_code letter_filter_read(const struct cli *cli,
                                            const struct config *cfg,
                                            struct letter_filter *ret,
                                            struct err *err);

/** Whether the value has to be looked at to tell. */
bool letter_filter_needs_body(const struct letter_filter *f);
bool letter_matches(const struct letter_filter *f, const struct letter_view *l);

/** As members of the object that is open in @p j: what was asked for. */
void letter_filter_write(const struct letter_filter *f, struct json_out *j);

#endif
