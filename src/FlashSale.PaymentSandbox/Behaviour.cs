using FlashSale.Platform;

namespace FlashSale.PaymentSandbox;

/// <summary>How the sandbox treats a merchant.</summary>
/// <param name="DelayMs">Before a notice is sent, in milliseconds.</param>
/// <param name="Duplicates">How often a notice is sent again although it was taken.</param>
/// <param name="Shuffle">Notices overtake each other, and before each success there is a failed attempt to be overtaken.</param>
/// <param name="Outcome"><c>succeed</c>; <c>fail</c>: paying fails; <c>never</c>: what happens is never told.</param>
/// <param name="AutoPay">A payment is paid as soon as it is made, as by a shopper who does not hesitate.</param>
/// <param name="Refuse">New payments and refunds are refused, and their keys for ever.</param>
public sealed record Behaviour(int DelayMs, int Duplicates, bool Shuffle, string Outcome, bool AutoPay, bool Refuse)
{
    /// <summary>Longest delay.</summary>
    public const int MaxDelayMs = 600_000;

    /// <summary>Most duplicates.</summary>
    public const int MaxDuplicates = 100;

    private const int ShuffledOverMs = 1_000;

    /// <summary>When a notice goes out.</summary>
    public TimeSpan NextDelay() => TimeSpan.FromMilliseconds(Shuffle ? Random.Shared.Next(Math.Max(DelayMs, ShuffledOverMs)) : DelayMs);

    /// <summary>What is wrong with it.</summary>
    public IReadOnlyList<ProblemError> Errors()
    {
        var errors = new List<ProblemError>();
        if (DelayMs is < 0 or > MaxDelayMs) errors.Add(new("delayMs", $"must be an integer from 0 to {MaxDelayMs}"));
        if (Duplicates is < 0 or > MaxDuplicates) errors.Add(new("duplicates", $"must be an integer from 0 to {MaxDuplicates}"));
        if (Outcome is not ("succeed" or "fail" or "never")) errors.Add(new("outcome", "must be succeed, fail or never"));
        return errors;
    }
}

/// <summary>A change of the behaviour: what is left out stays.</summary>
public sealed record BehaviourForm(int? DelayMs, int? Duplicates, bool? Shuffle, string? Outcome, bool? AutoPay, bool? Refuse)
{
    /// <summary>The behaviour with this change.</summary>
    public Behaviour Apply(Behaviour before) =>
        new(DelayMs ?? before.DelayMs, Duplicates ?? before.Duplicates, Shuffle ?? before.Shuffle, Outcome ?? before.Outcome, AutoPay ?? before.AutoPay, Refuse ?? before.Refuse);
}

/// <summary>The behaviour that is in force.</summary>
public sealed class BehaviourSwitch(SandboxOptions options)
{
    private volatile Behaviour _now = options.Behaviour;

    /// <summary>Taken once for each notice.</summary>
    public Behaviour Now
    {
        get => _now;
        set => _now = value;
    }
}
