CREATE TABLE communities (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    theme_id text NOT NULL DEFAULT 'basic',
    subscription_tier text NOT NULL DEFAULT 'free',
    discord_guild_id text UNIQUE,
    telegram_chat_id text UNIQUE,
    is_active boolean NOT NULL DEFAULT true,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    community_id uuid NOT NULL REFERENCES communities (id) ON DELETE CASCADE,
    discord_id text,
    telegram_id text,
    wallet_address text,
    tier text,
    current_rank integer,
    activity_score integer NOT NULL DEFAULT 0,
    conviction_score integer NOT NULL DEFAULT 0,
    joined_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,
    first_claim_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (community_id, discord_id),
    UNIQUE (community_id, telegram_id)
);
CREATE INDEX profiles_community_id_idx ON profiles (community_id);
CREATE INDEX profiles_wallet_address_idx ON profiles (wallet_address);
CREATE TABLE badges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    community_id uuid NOT NULL REFERENCES communities (id) ON DELETE CASCADE,
    profile_id uuid NOT NULL REFERENCES profiles (id) ON DELETE CASCADE,
    badge_type text NOT NULL,
    awarded_at timestamptz NOT NULL DEFAULT now(),
    awarded_by uuid REFERENCES profiles (id) ON DELETE SET NULL,
    revoked_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (community_id, profile_id, badge_type)
);
CREATE INDEX badges_profile_id_idx ON badges (profile_id);
CREATE INDEX badges_community_id_badge_type_idx ON badges (community_id, badge_type)
