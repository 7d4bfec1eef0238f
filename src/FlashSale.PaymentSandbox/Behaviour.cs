using FlashSale.Platform;

namespace FlashSale.PaymentSandbox;

/// <summary>How the sandbox treats a merchant.</summary>
/// <param name="DelayMs">The wait before a notice is sent, in milliseconds.</param>
/// <param name="Duplicates">How often a notice is sent again although the merchant has taken it.</param>
/// <param name="Shuffle">Whether notices overtake each other. Then a failed attempt precedes each success, so that it
/// can be overtaken.</param>
/// <param name="Outcome"><c>succeed</c>, <c>fail</c> (paying fails) or <c>never</c> (no notice is sent).</param>
/// <param name="AutoPay">Whether a payment is paid as soon as it is made, as by a shopper that does not
/// hesitate.</param>
/// <param name="Refuse">Whether new payments and refunds are refused, and their keys for ever.</param>
public sealed record Behaviour(int DelayMs, int Duplicates, bool Shuffle, string Outcome, bool AutoPay, bool Refuse)
{
    /// <summary>Longest delay, in milliseconds.</summary>
    public const int MaxDelayMs = 600_000;

    /// <summary>Most duplicates of a notice.</summary>
    public const int MaxDuplicates = 100;

    private const int ShuffledOverMs = 1_000;

    /// <summary>The wait before the next delivery of a notice. It is random when notices overtake each other.</summary>
    public TimeSpan NextDelay() => TimeSpan.FromMilliseconds(Shuffle ? Random.Shared.Next(Math.Max(DelayMs, ShuffledOverMs)) : DelayMs);

    /// <summary>The errors of this behaviour. Empty when it is valid.</summary>
    public IReadOnlyList<ProblemError> Errors()
    {
        var errors = new List<ProblemError>();
        if (DelayMs is < 0 or > MaxDelayMs) errors.Add(new("delayMs", $"must be an integer from 0 to {MaxDelayMs}"));
        if (Duplicates is < 0 or > MaxDuplicates) errors.Add(new("duplicates", $"must be an integer from 0 to {MaxDuplicates}"));
        if (Outcome is not ("succeed" or "fail" or "never")) errors.Add(new("outcome", "must be succeed, fail or never"));
        return errors;
    }
}

/// <summary>A change of the behaviour. A member that is left out stays as it is.</summary>
public sealed record BehaviourForm(int? DelayMs, int? Duplicates, bool? Shuffle, string? Outcome, bool? AutoPay, bool? Refuse)
{
    /// <summary>Returns the behaviour with this change.</summary>
    public Behaviour Apply(Behaviour before) =>
        new(DelayMs ?? before.DelayMs, Duplicates ?? before.Duplicates, Shuffle ?? before.Shuffle, Outcome ?? before.Outcome, AutoPay ?? before.AutoPay, Refuse ?? before.Refuse);
}

/// <summary>Holds the behaviour that is in force.</summary>
public sealed class BehaviourSwitch(SandboxOptions options)
{
    private volatile Behaviour _now = options.Behaviour;

    /// <summary>The behaviour in force. A notice keeps the one that was in force when it was made.</summary>
    public Behaviour Now
    {
        get => _now;
        set => _now = value;
    }
}
