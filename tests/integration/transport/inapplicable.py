"""
The tests of Kombu's Redis transport that cannot hold for another one.

Each with its reason; they are left out by name, so that a test that Kombu adds
is run. All of them check the means, commands and mocks, not what arrives.
"""

from typing import Final

_SCRIPT: Final = "its stand-in for Redis runs no scripts, by which messages are restored here"
_DELAYED: Final = (
    "its stand-in for Redis does not answer for the delayed tasks, which go with their queue"
)
_SENDS: Final = "it expects the command BRPOP; here a script is called"
_PENDING: Final = (
    "its stand-in answers any command as BRPOP, and a message in a reply that is read without "
    "credit goes back to its queue here"
)
_WAIT: Final = "the wait without credit is a poll here, which an acknowledgement ends, not a sleep"
_NEXT_CALL: Final = (
    "it expects the message in the reply of the command that waits; here that reply only wakes, "
    "and the next call fetches"
)

INAPPLICABLE: Final = {
    "test_Channel::test_restore_by_tag_keeps_unacked_message_on_connection_error": _SCRIPT,
    "test_Channel::test_restore_by_tag_requeues_when_lookup_succeeds": _SCRIPT,
    "test_Channel::test_qos_restore_visible": _SCRIPT,
    "test_Channel::test_qos_restore_visible_uses_zrange_byscore_rev": _SCRIPT,
    "test_Channel::test_qos_restore_visible_without_limit": _SCRIPT,
    "test_Channel::test_global_keyprefix_transaction": _SCRIPT,
    "test_Channel::test_global_keyprefix_restore_visible": _SCRIPT,
    "test_Redis::test_publish__consume": _SCRIPT,
    "test_Redis::test_publish__get_redispyv3": _SCRIPT,
    "test_Redis::test_publish__get_redispyv2": _SCRIPT,
    "test_Channel::test_qos_restore_visible_interval_throttles": _SCRIPT,
    "test_Channel::test_qos_restore_visible_zero_interval_no_zerodivision": _SCRIPT,
    "test_Channel::test_delete": _DELAYED,
    "test_Redis::test_purge": _DELAYED,
    "test_Channel::test_brpop_start_records_send_time": _SENDS,
    "test_Channel::test_brpop_health_drop_resets_in_poll": _SENDS,
    "test_Channel::test_brpop_start_sends_keys_and_timeout": _SENDS,
    "test_Channel::test_brpop_start_prefixes_keys": _SENDS,
    "test_PausedBRPOP::test_paused_only_polling_wait_is_bounded": _WAIT,
    "test_PausedBRPOP::test_credit_resumes_pending_brpop_without_sending_another[True": _PENDING,
    "test_PausedBRPOP::test_channel_close_drains_pending_reply_and_removes_pause": _PENDING,
    "test_PausedBRPOP::test_removing_paused_channel_preserves_another": _PENDING,
    "test_hub_pauses_pending_brpop_until_ack[message]": _NEXT_CALL,
    "test_drain_events_resumes_pending_brpop_without_resending": _NEXT_CALL,
    "test_MultiChannelPoller::test_qos_requeue": (
        "its channel is a mock, which has no leases to ask whether the message is still its own"
    ),
    # Kombu 5.6.2's own, with its own transport too:
    "test_Channel::test_connparams_health_check_interval_supported": (
        "it fails with redis-py 8, whatever the transport"
    ),
}
