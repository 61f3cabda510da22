"""What a service computes that publishes to Kafka itself, and what the
provider is told to call: written from the documents, not from the C code."""

import hashlib
import hmac
import json
import time

from tests.harness.settings import C2B_SECRET, CLIENTS, MAC_KEY


def signature(client, stamp, key, value):
    """HMAC-SHA-256 over client LF time LF key LF value, in hex."""
    text = b"\n".join([CLIENTS[client]["id"].encode(), stamp.encode(),
                       key.encode(), value])
    return hmac.new(CLIENTS[client]["secret"].encode(), text,
                    hashlib.sha256).hexdigest()


def request_record(payment, idempotency_key, client="shop", at_ms=None,
                   version=1):
    """(key, value, headers) of a signed record for payments.requests.*."""
    value = json.dumps({"version": version,
                        "idempotency_key": idempotency_key,
                        "currency": "KES", "ask_again": 0,
                        "description": "Payment", "priority": "normal",
                        **payment}, separators=(",", ":")).encode()
    stamp = str(at_ms if at_ms is not None else int(time.time() * 1000))
    key = str(payment["msisdn"])
    headers = [("foleni-client", CLIENTS[client]["id"]),
               ("foleni-time", stamp),
               ("foleni-signature", signature(client, stamp, key, value))]
    return key, value, headers


def callback_mac(payment, attempt, key=MAC_KEY):
    """The last part of a callback's path."""
    return hmac.new(key.encode(), f"{payment}/{attempt}".encode(),
                    hashlib.sha256).hexdigest()[:32]


def callback_path(payment, attempt, mac=None):
    mac = mac or callback_mac(payment, attempt)
    return f"/callbacks/{payment}/{attempt}/{mac}"


def callback_body(checkout_id, code=0, text="done", items=None):
    """Daraja's stkCallback."""
    body = {"MerchantRequestID": "29115-34620561-1",
            "CheckoutRequestID": checkout_id, "ResultCode": code,
            "ResultDesc": text}
    if items:
        body["CallbackMetadata"] = {
            "Item": [{"Name": k, "Value": v} for k, v in items.items()]}
    return json.dumps({"Body": {"stkCallback": body}}).encode()


def c2b_path(secret=C2B_SECRET):
    return f"/c2b/confirmation/{secret}"


def c2b_body(receipt, amount=100, shortcode="174379", reference="ORDER1",
             msisdn="2547 ***** 126", at="20261121110000", **more):
    """M-Pesa's confirmation of one payment."""
    return json.dumps({
        "TransactionType": "Pay Bill", "TransID": receipt, "TransTime": at,
        "TransAmount": f"{amount}.00", "BusinessShortCode": shortcode,
        "BillRefNumber": reference, "InvoiceNumber": "",
        "OrgAccountBalance": "49197.00", "ThirdPartyTransID": "",
        "MSISDN": msisdn, "FirstName": "A", "MiddleName": "", "LastName": "",
        **more}).encode()


def c2b_mac(body, key=MAC_KEY):
    """Header foleni-mac of a C2B notice's record."""
    return hmac.new(key.encode(), b"c2b\n" + body,
                    hashlib.sha256).hexdigest()[:32]
