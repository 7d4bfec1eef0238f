using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>At which level a node works, why, and since when.</summary>
/// <param name="Level">0-5.</param>
/// <param name="Cause">For people: who or what decided.</param>
/// <param name="Since">Unix milliseconds.</param>
/// <param name="Off">What is off: by the level, or by a switch.</param>
public sealed record DegradationState(int Level, string Cause, long Since, Features Off);

/// <summary>
/// What a node does without. An operator's level wins until it ends; without one the level follows the node's own
/// pressure, a step at a time and slower down than up, between the operator's floor and ceiling. Switches win over any level.
/// </summary>
/// <param name="options">When pressure makes a step.</param>
/// <param name="clock">Unix milliseconds by which an operator's level ends, the same on all nodes: Redis TIME.</param>
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

    /// <summary>The state now.</summary>
    public DegradationState State => _state;

    /// <summary>Whether a feature is off.</summary>
    public bool IsOff(Features feature) => (_off & feature) != Features.None;

    /// <summary>Whether a user is of the share that may buy where purchases are not for all.</summary>
    /// <param name="userHash">As of <see cref="Contracts.Fingerprints.OfUser"/>.</param>
    public bool IsOfTheShare(ulong userHash) => userHash % 100 < (ulong)options.SharePercent;

    /// <summary>Follows what operators have set.</summary>
    public void Follow(SwitchDocument document)
    {
        lock (_sync)
        {
            _document = document;
            _automatic = Math.Clamp(_automatic, document.Floor, document.Ceiling);
            Decide();
        }
    }

    /// <summary>Takes notice of the node's pressure; called several times a second, also to let an end come.</summary>
    /// <param name="load">1 is where the level rises.</param>
    /// <param name="signal">What presses most.</param>
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
