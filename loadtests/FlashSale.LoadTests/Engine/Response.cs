using System.Runtime.CompilerServices;

namespace FlashSale.LoadTests.Engine;

/// <summary>The result of an iteration or a step.</summary>
public interface IResponse
{
    /// <summary>
    /// The text by which the reports count results, or empty. Any short text will do, but the number of different texts
    /// must stay small.
    /// </summary>
    string StatusCode { get; }

    /// <summary>Whether the result counts as failed.</summary>
    bool IsError { get; }

    /// <summary>Size of the answer in bytes.</summary>
    long SizeBytes { get; }

    /// <summary>Text that the reports show beside the status code.</summary>
    string Message { get; }
}

/// <summary>Creates results of steps and iterations.</summary>
public static class Response
{
    private static readonly Response<object> Plain = new("", IsError: false, 0, "", default);
    private static readonly Response<object> PlainFailure = new("", IsError: true, 0, "", default);

    /// <summary>Creates a success without a payload.</summary>
    [OverloadResolutionPriority(1)]
    public static Response<object> Ok(string statusCode = "", long sizeBytes = 0, string message = "") =>
        statusCode.Length == 0 && sizeBytes == 0 && message.Length == 0 ? Plain : new(statusCode, IsError: false, sizeBytes, message, default);

    /// <summary>Creates a success with a payload.</summary>
    public static Response<T> Ok<T>(T payload, string statusCode = "", long sizeBytes = 0, string message = "") =>
        new(statusCode, IsError: false, sizeBytes, message, new Payload<T>(payload));

    /// <summary>Creates a failure without a payload.</summary>
    [OverloadResolutionPriority(1)]
    public static Response<object> Fail(string statusCode = "", string message = "", long sizeBytes = 0) =>
        statusCode.Length == 0 && sizeBytes == 0 && message.Length == 0 ? PlainFailure : new(statusCode, IsError: true, sizeBytes, message, default);

    /// <summary>Creates a failure without a payload, for a step that has a payload when it succeeds.</summary>
    public static Response<T> Fail<T>(string statusCode = "", string message = "", long sizeBytes = 0) => new(statusCode, IsError: true, sizeBytes, message, default);

    /// <summary>Creates a failure with a payload.</summary>
    public static Response<T> Fail<T>(T payload, string statusCode = "", string message = "", long sizeBytes = 0) =>
        new(statusCode, IsError: true, sizeBytes, message, new Payload<T>(payload));
}

/// <summary>The result of a step, with the payload that it hands to the next step.</summary>
public sealed record Response<T>(string StatusCode, bool IsError, long SizeBytes, string Message, Payload<T> Payload) : IResponse;

/// <summary>The value that a step hands on. It may be missing.</summary>
public readonly struct Payload<T>
{
    private readonly T _value;

    internal Payload(T value)
    {
        _value = value;
        HasValue = true;
    }

    /// <summary>Whether the step handed on a value.</summary>
    public bool HasValue { get; }

    /// <summary>The value that the step handed on.</summary>
    /// <exception cref="InvalidOperationException">The step handed on no value.</exception>
    public T Value => HasValue ? _value : throw new InvalidOperationException("The step handed on no payload.");
}
