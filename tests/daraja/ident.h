/*
 * Identifiers of the shapes that the provider makes: opaque to a client, so
 * the shapes matter only to those who wrongly take them apart.
 */
#ifndef FOLENI_TESTS_DARAJA_IDENT_H
#define FOLENI_TESTS_DARAJA_IDENT_H

#include <stdint.h>

#define CHECKOUT_SIZE 40 /* ws_CO_ + 14 + 3 + 9 and its terminator          */
#define REQUEST_ID_SIZE 48
#define RECEIPT_SIZE 11
#define TOKEN_SIZE 29
#define IDENT_NODES 5

/** Gateway nodes, each with its prefix and its counter. */
struct idents {
    char prefix[IDENT_NODES][32];
    uint64_t base[IDENT_NODES];
};

void ident_init(struct idents *ids, uint64_t seed);

/** CheckoutRequestID: ws_CO_, EAT to the millisecond, 9 digits of the phone. */
void ident_checkout(int64_t at, int64_t msisdn, char out[CHECKOUT_SIZE]);

/** MerchantRequestID and requestId; differs for every @p n. */
void ident_request(const struct idents *ids, uint64_t n,
                   char out[REQUEST_ID_SIZE]);

/** Receipt: year, month, day and 7 characters, which differ for every @p n. */
void ident_receipt(int64_t at, uint64_t n, char out[RECEIPT_SIZE]);

/** ConversationID: AG_, the day, and hex that differs for every @p n. */
void ident_conversation(int64_t at, uint64_t n, char out[REQUEST_ID_SIZE]);

/** A token of 28 characters. */
void ident_token(uint64_t random_a, uint64_t random_b, char out[TOKEN_SIZE]);

#endif
