using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Keeper;

/// <summary>When the append-only file of Redis is rewritten. Section <c>RedisLog</c>.</summary>
public sealed class RedisLogOptions
{
    /// <summary>
    /// The size in MB from which on the append-only file of Redis is rewritten, once it has doubled since the last
    /// rewrite and few purchases come in.
    /// </summary>
    [Range(1, 1_000_000)]
    public int RewriteAboveMegabytes { get; set; } = 256;
}
