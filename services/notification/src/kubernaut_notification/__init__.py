"""The Notification controller: delivers NotificationRequests, one status write per durable change."""
