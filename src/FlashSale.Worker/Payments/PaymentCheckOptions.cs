using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Payments;

/// <summary>
/// How the worker asks the provider about payments for which no notice has come. Section <c>PaymentChecks</c>.
/// </summary>
public sealed class PaymentCheckOptions
{
    private static readonly TimeSpan FirstWait = TimeSpan.FromMinutes(1);

    /// <summary>The most payments that one worker asks about in a second.</summary>
    [Range(1, 1_000)]
    public int PerSecond { get; set; } = 50;

    /// <summary>
    /// For how many hours after payBy the worker asks about an unpaid payment again. The waits between the questions
    /// are 1, 4, 16 minutes and so on.
    /// </summary>
    [Range(1, 720)]
    public int ForHours { get; set; } = 24;

    /// <summary>
    /// The wait before the next question, after <paramref name="asks"/> questions and <paramref name="sincePayBy"/>
    /// after payBy. Null when no more questions follow.
    /// </summary>
    public TimeSpan? WaitAfter(int asks, TimeSpan sincePayBy)
    {
        var wait = FirstWait * Math.Pow(4, Math.Min(asks - 1, 10));
        var left = TimeSpan.FromHours(ForHours) - sincePayBy;
        if (left <= TimeSpan.Zero) return null;
        return wait < left ? wait : left;
    }
}
