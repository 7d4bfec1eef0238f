using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.PaymentSandbox;

/// <summary>Settings of the sandbox, and its behaviour until it is told another one. Section <c>Sandbox</c>.</summary>
public sealed class SandboxOptions
{
    /// <summary>The bearer token of merchants.</summary>
    [Required, Secret]
    public string ApiKey { get; set; } = "";

    /// <summary>The merchant's webhook, to which notices go.</summary>
    [Required]
    public string WebhookUrl { get; set; } = "";

    /// <summary>The secret that notices are signed with, <c>whsec_…</c>.</summary>
    [Required, Secret]
    public string WebhookSecret { get; set; } = "";

    /// <summary>
    /// The beginning of a pay page's address. When it is not set, the address at which the merchant called the sandbox.
    /// </summary>
    public string? PublicUrl { get; set; }

    /// <summary>
    /// The wait before a notice that was not taken is sent again, in milliseconds. It doubles each time, up to half a
    /// minute.
    /// </summary>
    [Range(10, 60_000)]
    public int RetryMilliseconds { get; set; } = 500;

    /// <summary>See <see cref="Behaviour.DelayMs"/>.</summary>
    [Range(0, Behaviour.MaxDelayMs)]
    public int DelayMs { get; set; }

    /// <summary>See <see cref="Behaviour.Duplicates"/>.</summary>
    [Range(0, Behaviour.MaxDuplicates)]
    public int Duplicates { get; set; }

    /// <summary>See <see cref="Behaviour.Shuffle"/>.</summary>
    public bool Shuffle { get; set; }

    /// <summary>See <see cref="Behaviour.Outcome"/>.</summary>
    [RegularExpression("^(succeed|fail|never)$", ErrorMessage = "allowed is succeed, fail or never.")]
    public string Outcome { get; set; } = "succeed";

    /// <summary>See <see cref="Behaviour.AutoPay"/>.</summary>
    public bool AutoPay { get; set; }

    /// <summary>See <see cref="Behaviour.Refuse"/>.</summary>
    public bool Refuse { get; set; }

    /// <summary>The behaviour at start.</summary>
    public Behaviour Behaviour => new(DelayMs, Duplicates, Shuffle, Outcome, AutoPay, Refuse);
}
