using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>The level that a node works at, its cause, and its beginning.</summary>
/// <param name="Level">0-5.</param>
/// <param name="Cause">The cause of the level, for people: an operator, or the signal that presses.</param>
/// <param name="Since">Beginning of the level, Unix milliseconds.</param>
/// <param name="Off">The features that are off, by the level or by a switch.</param>
public sealed record DegradationState(int Level, string Cause, long Since, Features Off);

/// <summary>
/// Decides which features a node turns off. An operator's level wins until it ends. Without one, the level follows the
/// node's own pressure, one step at a time, between the operator's floor and ceiling. By default it falls more slowly
/// than it rises. Switches win over any level.
/// </summary>
/// <param name="options">How long pressure or quiet must last for a step.</param>
/// <param name="clock">
/// Unix milliseconds of the clock that ends an operator's level. It must be the same on all nodes: Redis TIME.
/// </param>
public sealed class Degradation(DegradationOptions options, Func<long> clock)
{
    private const double Quiet = 0.5;

    private readonly Lock _sync = new();
    private SwitchDocument _document = new(null, "", null, 0, options.Ceiling, Features.None, Features.None);
    private int _automatic;
    private string _pressedBy = "";
    private long? _pressedSince;
    private long? _quietSince;
    private volatile DegradationState _state = new(0, "nothing presses", clock(), Features.None);
    private volatile Features _off = Features.None;

    /// <summary>The present state.</summary>
    public DegradationState State => _state;

    /// <summary>Whether any of the features is off.</summary>
    public bool IsOff(Features feature) => (_off & feature) != Features.None;

    /// <summary>
    /// Whether a user belongs to the share that may buy while <see cref="Features.PurchasesForAll"/> is off.
    /// </summary>
    /// <param name="userHash">The user's <see cref="Contracts.Fingerprints.OfUser"/>.</param>
    public bool IsOfTheShare(ulong userHash) => userHash % 100 < (ulong)options.SharePercent;

    /// <summary>Applies a new document of the operators.</summary>
    public void Follow(SwitchDocument document)
    {
        lock (_sync)
        {
            _document = document;
            _automatic = Math.Clamp(_automatic, document.Floor, document.Ceiling);
            Decide();
        }
    }

    /// <summary>
    /// Takes the node's present pressure. The host calls it twice a second, which also lets an operator's level end in
    /// time.
    /// </summary>
    /// <param name="load">The pressure as a share of its limit. The level rises at 1.</param>
    /// <param name="signal">The name of the signal that presses most.</param>
    public void Press(double load, string signal)
    {
        lock (_sync)
        {
            var now = Environment.TickCount64;
            _pressedSince = load >= 1 ? _pressedSince ?? now : null;
            _quietSince = load < Quiet ? _quietSince ?? now : null;
            if (now - _pressedSince >= options.RiseMilliseconds)
            {
                (_pressedSince, _pressedBy) = (now, signal);
                _automatic++;
            }
            else if (now - _quietSince >= options.FallMilliseconds)
            {
                _quietSince = now;
                _automatic--;
            }
            _automatic = Math.Clamp(_automatic, _document.Floor, _document.Ceiling);
            Decide();
        }
    }

    private void Decide()
    {
        var now = clock();
        var inForce = _document.Until is null || now < _document.Until;
        var level = inForce && _document.Level is { } pinned ? pinned : _automatic;
        var off = SwitchDocument.OffAt(level);
        if (inForce) off = (off & ~_document.On) | _document.Off;
        var cause = inForce && _document.Level is not null ? $"set by an operator: {_document.Reason}"
            : level == _document.Floor && level > 0 ? $"the floor that an operator set: {_document.Reason}"
            : level > 0 ? $"pressure: {_pressedBy}"
            : "nothing presses";
        if (_state.Level == level && _state.Off == off && _state.Cause == cause) return;
        _state = new(level, cause, _state.Level == level ? _state.Since : now, off);
        _off = off;
    }
}
