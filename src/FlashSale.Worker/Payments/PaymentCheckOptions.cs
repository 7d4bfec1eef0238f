using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Payments;

/// <summary>How the provider is asked about payments that it has told nothing of. Section <c>PaymentChecks</c>.</summary>
public sealed class PaymentCheckOptions
{
    private static readonly TimeSpan FirstWait = TimeSpan.FromMinutes(1);

    /// <summary>How many payments one worker asks about in a second, at most.</summary>
    [Range(1, 1_000)]
    public int PerSecond { get; set; } = 50;

    /// <summary>For how many hours after payBy an unpaid payment is asked about again: after 1, 4, 16 minutes and so on.</summary>
    [Range(1, 720)]
    public int ForHours { get; set; } = 24;

    /// <summary>How long to wait after so many questions were answered, where the order had to be paid that long ago; null: no more.</summary>
    public TimeSpan? WaitAfter(int asks, TimeSpan sincePayBy)
    {
        var wait = FirstWait * Math.Pow(4, Math.Min(asks - 1, 10));
        var left = TimeSpan.FromHours(ForHours) - sincePayBy;
        if (left <= TimeSpan.Zero) return null;
        return wait < left ? wait : left;
    }
}
