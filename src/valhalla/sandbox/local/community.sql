-- The built-in template `community` in SQLite's words. STRICT, so that a wrong type is refused as Postgres would.
-- uuid: 32 hex digits, the form in which SQLAlchemy and Django store one here; boolean: 0 or 1;
-- jsonb: text that must be JSON; timestamptz: text, UTC, with six decimals, so that it sorts as time.
CREATE TABLE communities (
    id text PRIMARY KEY NOT NULL DEFAULT (
        lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)
        || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2) || lower(hex(randomblob(6)))
    ),
    name text NOT NULL,
    theme_id text NOT NULL DEFAULT 'basic',
    subscription_tier text NOT NULL DEFAULT 'free',
    discord_guild_id text UNIQUE,
    telegram_chat_id text UNIQUE,
    is_active integer NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    settings text NOT NULL DEFAULT '{}' CHECK (json_valid(settings)),
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
) STRICT;
CREATE TABLE profiles (
    id text PRIMARY KEY NOT NULL DEFAULT (
        lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)
        || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2) || lower(hex(randomblob(6)))
    ),
    community_id text NOT NULL REFERENCES communities (id) ON DELETE CASCADE,
    discord_id text,
    telegram_id text,
    wallet_address text,
    tier text,
    current_rank integer,
    activity_score integer NOT NULL DEFAULT 0,
    conviction_score integer NOT NULL DEFAULT 0,
    joined_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    last_seen_at text,
    first_claim_at text,
    metadata text NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    UNIQUE (community_id, discord_id),
    UNIQUE (community_id, telegram_id)
) STRICT;
CREATE INDEX profiles_community_id_idx ON profiles (community_id);
CREATE INDEX profiles_wallet_address_idx ON profiles (wallet_address);
CREATE TABLE badges (
    id text PRIMARY KEY NOT NULL DEFAULT (
        lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)
        || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(2))), 2) || lower(hex(randomblob(6)))
    ),
    community_id text NOT NULL REFERENCES communities (id) ON DELETE CASCADE,
    profile_id text NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    badge_type text NOT NULL,
    awarded_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    awarded_by text REFERENCES profiles (id) ON DELETE SET NULL,
    revoked_at text,
    metadata text NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    UNIQUE (community_id, profile_id, badge_type)
) STRICT;
CREATE INDEX badges_profile_id_idx ON badges (profile_id);
CREATE INDEX badges_community_id_badge_type_idx ON badges (community_id, badge_type);
