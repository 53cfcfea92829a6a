"""The groups of staff: readers, agents and operators.

They are made once. Whoever may change groups can change them afterwards, in the admin under Access, and no later
migration takes that back; a later page is given to them by a migration of its own, or by hand.

Permissions are usually made after all migrations: those that are needed here are made here, under the names that
Django would give them, so that it finds them then.
"""

from django.db import migrations

READERS = [
    "conversations.view_conversation",
    "conversations.view_conversationevent",
    "conversations.view_media",
    "conversations.view_message",
    "conversations.view_messageevent",
    "conversations.view_note",
    "conversations.view_notreached",
    "conversations.view_optout",
    "conversations.view_scheduled",
]
AGENTS = [
    *READERS,
    "conversations.reply_conversation",
    "conversations.resend_message",
    "conversations.cancel_scheduled",
    "conversations.add_optout",
    "conversations.change_optout",
]
OPERATORS = [
    *AGENTS,
    "admin.view_logentry",
    "conversations.view_client",
    "conversations.add_client",
    "conversations.change_client",
    "conversations.view_apikey",
    "conversations.add_apikey",
    "conversations.change_apikey",
    "providers.view_accountstate",
    "providers.change_accountstate",
    "webhooks.view_receipt",
    "webhooks.change_receipt",
    "webhooks.view_refusal",
    "webhooks.view_subscription",
    "webhooks.change_subscription",
    "webhooks.view_delivery",
]
MODELS_OF_CUSTOM_PERMISSIONS = {
    "reply_conversation": "conversation",
    "resend_message": "message",
    "cancel_scheduled": "scheduled",
}


def make_groups(apps, schema_editor):
    Group = apps.get_model("auth", "Group")
    for name, permissions in {"readers": READERS, "agents": AGENTS, "operators": OPERATORS}.items():
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            group.permissions.set([permission(apps, each) for each in permissions])


def permission(apps, label):
    app_label, codename = label.split(".")
    verb, _, noun = codename.partition("_")
    model_name = MODELS_OF_CUSTOM_PERMISSIONS.get(codename, noun)
    options = apps.get_model(app_label, model_name)._meta
    names = {codename: f"Can {verb} {options.verbose_name}", **dict(options.permissions)}
    ContentType = apps.get_model("contenttypes", "ContentType")
    content_type, _ = ContentType.objects.get_or_create(app_label=app_label, model=model_name)
    Permission = apps.get_model("auth", "Permission")
    found, _ = Permission.objects.get_or_create(
        content_type=content_type, codename=codename, defaults={"name": names[codename]}
    )
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("messaging_project", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("conversations", "0010_work_lists"),
        ("providers", "0002_channel_clock"),
        ("webhooks", "0003_events"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
