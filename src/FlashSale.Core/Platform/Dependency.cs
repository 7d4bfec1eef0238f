using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;
using Polly.Timeout;

namespace FlashSale.Platform;

/// <summary>
/// The call was not made: the dependency has failed too often lately, or too many calls are under way.
/// </summary>
public sealed class DependencyRejectedException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The call was given up. It may have had its effect or not.</summary>
public sealed class DependencyTimeoutException(string message, Exception? inner = null) : TimeoutException(message, inner);

/// <summary>Describes a dependency, apart from its settings.</summary>
/// <param name="Name">Its name on the health page and in metrics, in lower case.</param>
/// <param name="Section">Name of its part of section <c>Dependencies</c>.</param>
/// <param name="Defaults">The settings that hold where nothing is configured.</param>
/// <param name="IsFailure">Tells whether an exception speaks against the dependency, and not against the request that
/// it got.</param>
/// <param name="IsRepeatable">Tells whether a call that may be repeated should be made again after this exception. If
/// it is null, no call is made again. A call that was given up arrives here as
/// <see cref="TimeoutRejectedException"/>.</param>
public sealed record DependencyDefinition(string Name, string Section, DependencyOptions Defaults, Func<Exception, bool> IsFailure, Func<Exception, bool>? IsRepeatable = null)
{
    /// <summary>Most calls at once, even where the settings allow more: the size of a connection pool.</summary>
    public int MaxConcurrent { get; init; } = int.MaxValue;
}

/// <summary>
/// Stands between a host and one of its dependencies. The layers are, from the outside: a bulkhead, so that a slow
/// dependency cannot hold all of the host's work; a retry, for calls that may be repeated; a circuit breaker, so that
/// callers do not wait for a dependency that is away; a timeout. Thread-safe. New settings make a new pipeline. Calls
/// under way end in the old one, and the new breaker starts closed.
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

    /// <summary>The configuration section with the settings of all dependencies.</summary>
    internal const string Section = "Dependencies";

    /// <summary>The parts of that section, for the dependencies of all hosts together.</summary>
    internal static readonly string[] Sections = ["Redis", "RabbitMq", "Postgres", "Payments"];

    private readonly DependencyDefinition _definition;
    private readonly TimeProvider _time;
    private readonly DependencyMetrics _metrics;
    private volatile Built _built;

    /// <summary>Builds the pipelines with the first settings.</summary>
    public Dependency(DependencyDefinition definition, DependencyOptions options, TimeProvider time)
    {
        _definition = definition;
        _time = time;
        _metrics = new DependencyMetrics(this);
        _built = Build(options, null);
    }

    /// <summary>Its name on the health page and in metrics.</summary>
    public string Name => _definition.Name;

    /// <summary>The description that it was made from, without the settings.</summary>
    public DependencyDefinition Definition => _definition;

    /// <summary>The settings that hold now.</summary>
    public DependencyOptions Options => _built.Options;

    /// <summary>State of the circuit breaker, which tells whether calls go through.</summary>
    public CircuitState State => _built.State.CircuitState;

    /// <summary>Calls under way. Calls that wait between two attempts count too.</summary>
    public int InFlight => _built.Places.Taken;

    /// <summary>
    /// The breaker alone, for calls that bring their own deadline and cannot afford the other layers. A caller that the
    /// breaker refuses calls <see cref="CountRejection"/>.
    /// </summary>
    public ResiliencePipeline Breaker => _built.Breaker;

    /// <summary>Makes a call that may be repeated.</summary>
    /// <exception cref="DependencyRejectedException">The call was not made.</exception>
    /// <exception cref="DependencyTimeoutException">The call was given up.</exception>
    public ValueTask<T> RepeatableAsync<TState, T>(Func<TState, CancellationToken, ValueTask<T>> call, TState state, CancellationToken cancellation)
    {
        var built = _built;
        return RunAsync(built, built.Repeatable, call, state, cancellation);
    }

    /// <summary>Makes a call once.</summary>
    /// <exception cref="DependencyRejectedException">The call was not made.</exception>
    /// <exception cref="DependencyTimeoutException">The call was given up, and may have had its effect.</exception>
    public ValueTask<T> OnceAsync<TState, T>(Func<TState, CancellationToken, ValueTask<T>> call, TState state, CancellationToken cancellation)
    {
        var built = _built;
        return RunAsync(built, built.Once, call, state, cancellation);
    }

    /// <summary>Counts a call that <see cref="Breaker"/> refused.</summary>
    public void CountRejection() => _metrics.Rejected("open");

    /// <summary>Takes new settings. Nothing changes if they equal the present ones.</summary>
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
        var run = new Run<TState, T>(built, call, state, _time);
        try
        {
            return await pipeline.ExecuteAsync(static (run, token) => run.AttemptAsync(token), run, cancellation);
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
            run.Leave();
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
        // A bulkhead of the same size stays. It goes on counting the calls of the old pipelines, because a connection
        // pool has no room for the old calls beside as many new ones.
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

    // The attempts of one call. Npgsql does not end a cancelled query while its server hangs, so an attempt is left
    // alone a moment after its deadline. It keeps the call's place until it ends: its connection is not free before.
    private sealed class Run<TState, T>(Built built, Func<TState, CancellationToken, ValueTask<T>> call, TState state, TimeProvider time)
    {
        private static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(500);

        private int _unfinished = 1;

        public async ValueTask<T> AttemptAsync(CancellationToken cancellation)
        {
            Interlocked.Increment(ref _unfinished);
            var attempt = CallAsync(cancellation);
            try
            {
                return await attempt.WaitAsync(TimeSpan.FromMilliseconds(built.Options.TimeoutMilliseconds) + Grace, time, CancellationToken.None);
            }
            catch (TimeoutException e) when (!attempt.IsCompleted)
            {
                _ = attempt.ContinueWith(static left => left.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
                throw new TimeoutRejectedException("The attempt did not end when it was cancelled.", e);
            }
        }

        public void Leave()
        {
            if (Interlocked.Decrement(ref _unfinished) == 0) built.Places.Release();
        }

        private async Task<T> CallAsync(CancellationToken cancellation)
        {
            try
            {
                return await call(state, cancellation);
            }
            finally
            {
                Leave();
            }
        }
    }

    private sealed record Built(
        DependencyOptions Options, CircuitBreakerStateProvider State, ResiliencePipeline Breaker, ResiliencePipeline Once, ResiliencePipeline Repeatable, Bulkhead Places);
}

/// <summary>A fixed number of places. A caller that finds no free place waits for a limited time.</summary>
internal sealed class Bulkhead(int count)
{
    private readonly SemaphoreSlim _free = new(count, count);

    public int Count => count;

    public int Taken => count - _free.CurrentCount;

    public Task<bool> TryTakeAsync(TimeSpan longest, CancellationToken cancellation) => _free.WaitAsync(longest, cancellation);

    public void Release() => _free.Release();
}
