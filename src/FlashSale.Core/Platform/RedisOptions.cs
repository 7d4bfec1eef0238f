using System.ComponentModel.DataAnnotations;

namespace FlashSale.Platform;

/// <summary>The address of Redis, and the time to wait for it. Section <c>Redis</c>.</summary>
public sealed class RedisOptions
{
    /// <summary>The address of Redis: <c>host:port</c>.</summary>
    [Required]
    public string Endpoint { get; set; } = "";

    /// <summary>The ACL user to authenticate as. If it is not set, Redis takes the default user.</summary>
    public string? User { get; set; }

    /// <summary>Password of that user, if it has one.</summary>
    [Secret]
    public string? Password { get; set; }

    /// <summary>Whether the connection uses TLS.</summary>
    public bool Ssl { get; set; }

    /// <summary>How long a call other than a purchase may take, in milliseconds.</summary>
    [Range(50, 60_000)]
    public int DeadlineMilliseconds { get; set; } = 2_000;

    /// <summary>How often the watchdog pings, in milliseconds. After three misses it replaces the connection.</summary>
    [Range(50, 5_000)]
    public int WatchdogMilliseconds { get; set; } = 250;
}
