using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Keeper;

/// <summary>Section <c>RedisLog</c>.</summary>
public sealed class RedisLogOptions
{
    /// <summary>
    /// From which size on the append-only file of Redis is rewritten, in MB, once it has doubled since it was rewritten
    /// last and few purchases come in.
    /// </summary>
    [Range(1, 1_000_000)]
    public int RewriteAboveMegabytes { get; set; } = 256;
}
