"""What each body in examples/payloads is: (type, resource, version, time) of each event."""

TEN = 1_795_428_000_000_000  # 2026-11-23T10:00:00Z
USER = "Users/6f0c2b1e-0000-4000-8000-000000000001/Messages/"
# provider, file, [(type, resource, version, occurred_at)]
EXPECTED = [
    ("gitlab", "issue.open.json", [("issue.open", "issue/51001#7", TEN, TEN)]),
    (
        "gitlab",
        "merge_request.merge.json",
        [("merge_request.merge", "merge_request/51001!12", TEN + 764_000_000, TEN + 764_000_000)],
    ),
    ("gitlab", "note.create.json", [("note.create", "issue/51001#7", None, TEN + 1_200_000_000)]),
    ("gitlab", "push.json", [("push", "ref/51001@refs/heads/main", None, None)]),
    ("gitlab", "pipeline.json", [("pipeline", "pipeline/31415", None, TEN + 1_170_000_000)]),
    ("gitlab", "build.json", [("build", "job/27182", None, TEN + 1_080_000_000)]),
    (
        "gitlab",
        "system.project_create.json",
        [("project_create", "project/51002", None, TEN + 1_800_000_000)],
    ),
    ("stripe", "invoice.paid.json", [("invoice.paid", "invoice/in_northwind0042", None, TEN)]),
    (
        "stripe",
        "checkout.session.completed.json",
        [("checkout.session.completed", "checkout_session/cs_test_northwind01", None, TEN)],
    ),
    (
        "stripe",
        "balance.available.json",
        [("balance.available", "event/evt_northwind000000000003", None, TEN)],
    ),
    (
        "stripe",
        "thin.meter_error.json",
        [
            (
                "v1.billing.meter.error_report_triggered",
                "billing_meter/mtr_northwind01",
                None,
                TEN + 123_000,
            )
        ],
    ),
    (
        "shopify",
        "orders.create.json",
        [("orders.create", "orders/5100200301", TEN + 1_000_000, TEN + 1_000_000)],
    ),
    (
        "shopify",
        "products.update.json",
        [("products.update", "products/8800100", TEN + 300_000_000, TEN + 300_000_000)],
    ),
    ("shopify", "products.delete.json", [("products.delete", "products/8800100", None, None)]),
    (
        "shopify",
        "inventory_levels.update.json",
        [
            (
                "inventory_levels.update",
                "inventory_levels/4400@12",
                TEN + 360_000_000,
                TEN + 360_000_000,
            )
        ],
    ),
    ("shopify", "app.uninstalled.json", [("app.uninstalled", "app/660011", None, None)]),
    ("shopify", "shop.redact.json", [("shop.redact", "shop/660011", None, None)]),
    ("slack", "message.json", [("message", "channel/C0IMPORTS", None, TEN + 200)]),
    (
        "slack",
        "reaction_added.json",
        [("reaction_added", "channel/C0IMPORTS", None, TEN + 10_000_100)],
    ),
    (
        "slack",
        "channel_created.json",
        [("channel_created", "channel/C0NEW", None, TEN + 20_000_300)],
    ),
    ("slack", "team_join.json", [("team_join", "user/U0NOOR", None, TEN + 30_000_100)]),
    ("slack", "app_rate_limited.json", [("app_rate_limited", "team/T0NORTHWIND", None, None)]),
    ("slack", "block_actions.form", [("block_actions", "channel/C0IMPORTS", None, None)]),
    ("slack", "slash_command.form", [("slash_command", "channel/C0IMPORTS", None, None)]),
    (
        "twilio",
        "message.delivered.form",
        [("message.delivered", "message/SM" + "0" * 30 + "42", None, None)],
    ),
    (
        "twilio",
        "message.received.form",
        [("message.received", "message/SM" + "0" * 30 + "43", None, None)],
    ),
    (
        "twilio",
        "call.completed.form",
        [("call.completed", "call/CA" + "0" * 30 + "07", None, None)],
    ),
    (
        "twilio",
        "recording.completed.form",
        [("recording.completed", "recording/RE" + "0" * 30 + "08", None, None)],
    ),
    (
        "twilio",
        "event_streams.json",
        [("com.twilio.messaging.message.delivered", "event/", None, TEN)],
    ),
    (
        "microsoft_graph",
        "message.created.json",
        [("message.created", f"message/{USER}AAMkNorthwind0001", None, None)],
    ),
    (
        "microsoft_graph",
        "three_notifications.json",
        [
            ("message.created", f"message/{USER}AAMkNorthwind0002", None, None),
            ("message.updated", f"message/{USER}AAMkNorthwind0003", None, None),
            ("message.deleted", f"message/{USER}AAMkNorthwind0002", None, None),
        ],
    ),
    (
        "microsoft_graph",
        "lifecycle.json",
        [
            (
                "lifecycle.reauthorizationRequired",
                "subscription/0d5a7c11-0000-4000-8000-000000000002",
                None,
                None,
            )
        ],
    ),
    (
        "meta",
        "whatsapp.message.json",
        [
            (
                "whatsapp_business_account.messages",
                "conversation/1029384756:43660001234",
                None,
                TEN,
            )
        ],
    ),
    (
        "meta",
        "whatsapp.status.json",
        [
            (
                "whatsapp_business_account.messages",
                "conversation/1029384756:43660001234",
                None,
                TEN + 5_000_000,
            )
        ],
    ),
    (
        "meta",
        "messenger.json",
        [
            ("page.message", "conversation/1029:9001", None, TEN),
            ("page.read", "conversation/1029:9001", None, TEN + 1_000_000),
        ],
    ),
    (
        "meta",
        "page.batch.json",
        [
            ("page.feed", "post/1029_1", None, TEN - 10_000_000),
            ("page.leadgen", "lead/444", None, TEN - 5_000_000),
            ("page.name", "page/1030", None, TEN + 1_000_000),
        ],
    ),
    (
        "meta",
        "user.fields.json",
        [("user.email", "user/7001", None, TEN), ("user.photos", "user/7001", None, TEN)],
    ),
    (
        "cloudevents",
        "order.placed.json",
        [("com.example.order.placed", "subject/…#order-1001", 41, TEN)],
    ),
    (
        "cloudevents",
        "batch.json",
        [
            ("com.example.order.packed", "subject/…#order-1001", 42, TEN),
            ("com.example.order.placed", "subject/…#order-1002", 1, TEN),
        ],
    ),
    ("cloudevents", "binary.json", [("x.y", "event/", None, None)]),
    ("token", "order.created.json", [("order.created", "order/order-1001", None, TEN)]),
    ("zendesk", "ticket.created.json", [("ticket.created", "ticket/5158", None, TEN)]),
    (
        "zendesk",
        "ticket.status_changed.json",
        [("ticket.status_changed", "ticket/5158", None, TEN + 764_500_000)],
    ),
    (
        "calendly",
        "invitee.created.json",
        [("invitee.created", "scheduled_events/EVENT0001", None, TEN)],
    ),
    (
        "calendly",
        "invitee.canceled.json",
        [("invitee.canceled", "scheduled_events/EVENT0001", None, TEN + 300_000_000)],
    ),
    (
        "calendly",
        "routing_form_submission.created.json",
        [
            (
                "routing_form_submission.created",
                "routing_form_submissions/SUBMISSION0001",
                None,
                TEN + 600_000_000,
            )
        ],
    ),
    (
        "pagerduty",
        "incident.triggered.json",
        [("incident.triggered", "incident/PGR0VU2", None, TEN)],
    ),
    (
        "pagerduty",
        "incident.annotated.json",
        [("incident.annotated", "incident/PGR0VU2", None, TEN + 60_500_000)],
    ),
    (
        "pagerduty",
        "service.updated.json",
        [("service.updated", "service/PF9KMXH", None, TEN + 120_000_000)],
    ),
    (
        "pagerduty",
        "pagey.ping.json",
        [("pagey.ping", "event/01CH754SM17TWPE2V2H4VPBRO7", None, TEN)],
    ),
    (
        "typeform",
        "form_response.json",
        [("form_response", "response/a3a12ec67a1365927098a606107fac15", None, TEN)],
    ),
    (
        "typeform",
        "form_response_partial.json",
        [
            (
                "form_response_partial",
                "response/a3a12ec67a1365927098a606107fac15",
                None,
                TEN - 110_000_000,
            )
        ],
    ),
    ("jira", "issue_updated.json", [("issue_updated", "issue/10042", TEN, TEN + 123_000)]),
    ("jira", "comment_created.json", [("comment_created", "issue/10042", None, TEN + 60_000_000)]),
    (
        "jira",
        "worklog_created.json",
        [("worklog_created", "issue/10042", None, TEN + 120_000_000)],
    ),
    (
        "jira",
        "issuelink_created.json",
        [("issuelink_created", "issue/10042", None, TEN + 180_000_000)],
    ),
    ("jira", "sprint_started.json", [("sprint_started", "sprint/4", None, TEN + 240_000_000)]),
    (
        "hubspot",
        "contact.propertyChange.json",
        [("contact.propertyChange", "contact/1246965", None, TEN)],
    ),
    (
        "hubspot",
        "three_events.json",
        [
            ("contact.creation", "contact/1246978", None, TEN + 1_000_000),
            ("object.creation", "object/0-3:987", None, TEN + 2_000_000),
            ("contact.associationChange", "contact/1246978", None, TEN + 3_000_000),
        ],
    ),
]
