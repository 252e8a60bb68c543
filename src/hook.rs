//! Canary webhooks: payload out, verdict in. Pure.
