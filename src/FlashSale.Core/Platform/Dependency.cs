using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;
using Polly.Timeout;

namespace FlashSale.Platform;

/// <summary>The call was not made: the dependency has failed too often lately, or too many calls are under way.</summary>
public sealed class DependencyRejectedException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The call was given up: whether it had an effect is not known.</summary>
public sealed class DependencyTimeoutException(string message, Exception? inner = null) : TimeoutException(message, inner);

/// <summary>What there is to know of a dependency beside its settings.</summary>
/// <param name="Name">As on the health page and in metrics, in lower case.</param>
/// <param name="Section">Its part of section <c>Dependencies</c>.</param>
/// <param name="Defaults">What holds where nothing is set.</param>
/// <param name="IsFailure">Whether an exception speaks against the dependency, not against what it was asked.</param>
/// <param name="IsRepeatable">Whether a call that may be repeated should be after this exception; null where none should. Calls that were given up are of type <see cref="TimeoutRejectedException"/>.</param>
public sealed record DependencyDefinition(string Name, string Section, DependencyOptions Defaults, Func<Exception, bool> IsFailure, Func<Exception, bool>? IsRepeatable = null)
{
    /// <summary>Most calls at once, whatever the settings say: the size of a pool.</summary>
    public int MaxConcurrent { get; init; } = int.MaxValue;
}

/// <summary>
/// What stands between a host and one thing it depends on: a bulkhead, so that a slow one cannot hold everything; a retry,
/// for calls that may be repeated; a circuit breaker, so that nobody waits for one that is away; a timeout. In this order,
/// from the outside. Thread-safe. New settings make a new pipeline: calls under way end in the old one, and its breaker is closed.
/// </summary>
public sealed class Dependency
{
    /// <summary>Name of Redis.</summary>
    public const string Redis = "redis";

    /// <summary>Name of the broker.</summary>
    public const string RabbitMq = "rabbitmq";

    /// <summary>Name of Postgres.</summary>
    public const string Postgres = "postgres";

    /// <summary>Name of the replica that orders are read from.</summary>
    public const string PostgresReplica = "postgres-replica";

    /// <summary>Name of the payment provider.</summary>
    public const string Payments = "payments";

    /// <summary>The section of the settings of all of them.</summary>
    internal const string Section = "Dependencies";

    /// <summary>The parts of that section, of all hosts together.</summary>
    internal static readonly string[] Sections = ["Redis", "RabbitMq", "Postgres", "Payments"];

    private readonly DependencyDefinition _definition;
    private readonly TimeProvider _time;
    private readonly DependencyMetrics _metrics;
    private volatile Built _built;

    /// <summary>Makes the pipelines.</summary>
    public Dependency(DependencyDefinition definition, DependencyOptions options, TimeProvider time)
    {
        _definition = definition;
        _time = time;
        _metrics = new DependencyMetrics(this);
        _built = Build(options, null);
    }

    /// <summary>As on the health page and in metrics.</summary>
    public string Name => _definition.Name;

    /// <summary>What there is to know beside the settings.</summary>
    public DependencyDefinition Definition => _definition;

    /// <summary>The settings that hold now.</summary>
    public DependencyOptions Options => _built.Options;

    /// <summary>Whether calls go through.</summary>
    public CircuitState State => _built.State.CircuitState;

    /// <summary>Calls under way, those that wait between two attempts included.</summary>
    public int InFlight => _built.Places.Taken;

    /// <summary>The breaker alone, for calls that bring their own deadline and allow no waste. Whoever is refused by it calls <see cref="CountRejection"/>.</summary>
    public ResiliencePipeline Breaker => _built.Breaker;

    /// <summary>Makes a call that may be repeated.</summary>
    /// <exception cref="DependencyRejectedException">It was not made.</exception>
    /// <exception cref="DependencyTimeoutException">It was given up.</exception>
    public ValueTask<T> RepeatableAsync<TState, T>(Func<TState, CancellationToken, ValueTask<T>> call, TState state, CancellationToken cancellation)
    {
        var built = _built;
        return RunAsync(built, built.Repeatable, call, state, cancellation);
    }

    /// <summary>Makes a call once.</summary>
    /// <exception cref="DependencyRejectedException">It was not made.</exception>
    /// <exception cref="DependencyTimeoutException">It was given up, and may have had its effect.</exception>
    public ValueTask<T> OnceAsync<TState, T>(Func<TState, CancellationToken, ValueTask<T>> call, TState state, CancellationToken cancellation)
    {
        var built = _built;
        return RunAsync(built, built.Once, call, state, cancellation);
    }

    /// <summary>Counts a call that <see cref="Breaker"/> refused.</summary>
    public void CountRejection() => _metrics.Rejected("open");

    /// <summary>Takes new settings; those that hold already change nothing.</summary>
    /// <returns>Whether anything changed.</returns>
    public bool Apply(DependencyOptions options)
    {
        if (options == _built.Options) return false;
        _built = Build(options, _built.Places);
        return true;
    }

    private async ValueTask<T> RunAsync<TState, T>(
        Built built, ResiliencePipeline pipeline, Func<TState, CancellationToken, ValueTask<T>> call, TState state, CancellationToken cancellation)
    {
        if (!await built.Places.TryTakeAsync(TimeSpan.FromMilliseconds(built.Options.WaitMilliseconds), cancellation))
        {
            _metrics.Rejected("full");
            throw new DependencyRejectedException($"{Name}: {built.Places.Count} calls are under way, and none ended in time.");
        }
        try
        {
            return await pipeline.ExecuteAsync(call, state, cancellation);
        }
        catch (BrokenCircuitException e)
        {
            _metrics.Rejected("open");
            throw new DependencyRejectedException($"{Name} has failed too often to be asked right now.", e);
        }
        catch (TimeoutRejectedException e)
        {
            throw new DependencyTimeoutException($"{Name} did not answer in time.", e);
        }
        finally
        {
            built.Places.Release();
        }
    }

    private Built Build(DependencyOptions options, Bulkhead? places)
    {
        var state = new CircuitBreakerStateProvider();
        var breaker = new ResiliencePipelineBuilder { TimeProvider = _time }
            .AddCircuitBreaker(new CircuitBreakerStrategyOptions
            {
                FailureRatio = options.FailurePercent / 100.0,
                MinimumThroughput = options.MinCalls,
                SamplingDuration = TimeSpan.FromSeconds(options.SamplingSeconds),
                BreakDuration = TimeSpan.FromMilliseconds(options.BreakMilliseconds),
                ShouldHandle = new PredicateBuilder().Handle<Exception>(e => e is TimeoutRejectedException || _definition.IsFailure(e)),
                StateProvider = state,
                OnOpened = _ =>
                {
                    _metrics.Opened();
                    return default;
                },
            })
            .Build();
        var once = new ResiliencePipelineBuilder { TimeProvider = _time }
            .AddPipeline(breaker)
            .AddTimeout(new TimeoutStrategyOptions
            {
                Timeout = TimeSpan.FromMilliseconds(options.TimeoutMilliseconds),
                OnTimeout = _ =>
                {
                    _metrics.TimedOut();
                    return default;
                },
            })
            .Build();
        var count = Math.Min(options.MaxConcurrent, _definition.MaxConcurrent);
        // A bulkhead that stays as it was goes on counting calls of the old pipelines: a pool has no room for both.
        return new Built(options, state, breaker, once, Repeatable(options, once), places?.Count == count ? places : new Bulkhead(count));
    }

    private ResiliencePipeline Repeatable(DependencyOptions options, ResiliencePipeline once)
    {
        if (options.Retries == 0 || _definition.IsRepeatable is not { } isRepeatable) return once;
        return new ResiliencePipelineBuilder { TimeProvider = _time }
            .AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = options.Retries,
                Delay = TimeSpan.FromMilliseconds(options.RetryMilliseconds),
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                ShouldHandle = new PredicateBuilder().Handle<Exception>(e => isRepeatable(e)),
                OnRetry = _ =>
                {
                    _metrics.Retried();
                    return default;
                },
            })
            .AddPipeline(once)
            .Build();
    }

    private sealed record Built(
        DependencyOptions Options, CircuitBreakerStateProvider State, ResiliencePipeline Breaker, ResiliencePipeline Once, ResiliencePipeline Repeatable, Bulkhead Places);
}

/// <summary>A number of places; whoever finds none free waits for a moment.</summary>
internal sealed class Bulkhead(int count)
{
    private readonly SemaphoreSlim _free = new(count, count);

    public int Count => count;

    public int Taken => count - _free.CurrentCount;

    public Task<bool> TryTakeAsync(TimeSpan longest, CancellationToken cancellation) => _free.WaitAsync(longest, cancellation);

    public void Release() => _free.Release();
}
