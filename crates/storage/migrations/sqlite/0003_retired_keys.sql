-- When the key's collection was deleted: from then on the key signs nothing. Without that, whoever deletes a collection and
-- uploads its old files again would have the service vouch for them anew.
ALTER TABLE service_keys ADD COLUMN retired_at INTEGER;
