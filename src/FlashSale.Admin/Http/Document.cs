using FlashSale.Admin.Access;
using FlashSale.Platform;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace FlashSale.Admin.Http;

/// <summary>What the OpenAPI document says beyond the endpoints' own types: the token, the roles, the problems.</summary>
public static class Document
{
    private const string Bearer = "bearer";
    private const string Problem = "Problem";

    /// <summary>Adds it.</summary>
    public static void Describe(OpenApiOptions options)
    {
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info.Title = "FlashSale Admin API";
            document.Info.Version = "1";
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>(StringComparer.Ordinal);
            document.Components.SecuritySchemes[Bearer] = new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "A token of role viewer, manager or operator; each may do what those before it may.",
            };
            document.Components.Schemas ??= new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal);
            document.Components.Schemas[Problem] = ProblemSchema();
            document.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Bearer, document)] = [] }];
            return Task.CompletedTask;
        });
        // A default in a schema makes generators demand the member of whoever sends it.
        options.AddSchemaTransformer((schema, _, _) =>
        {
            schema.Default = null;
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            if (context.Description.ActionDescriptor.EndpointMetadata.OfType<RequiredRole>().LastOrDefault() is { } required)
                operation.Description = $"{operation.Description} Role: {required.Role.Text()}.".TrimStart();
            operation.OperationId = OperationId(context.Description.HttpMethod!, context.Description.RelativePath!);
            if (context.Description.ActionDescriptor.EndpointMetadata.OfType<TakesIfMatch>().Any())
            {
                operation.Parameters ??= [];
                operation.Parameters.Add(new OpenApiParameter
                {
                    Name = "If-Match", In = ParameterLocation.Header, Schema = Of(JsonSchemaType.String),
                    Description = "The ETag of an earlier answer: another version is left as it is, and answered by 412.",
                });
            }
            foreach (var key in operation.Parameters?.OfType<OpenApiParameter>().Where(parameter => parameter.Name == IdempotencyKey.Header) ?? []) key.Required = true;
            operation.Responses ??= [];
            operation.Responses["default"] = new OpenApiResponse
            {
                Description = "A problem.",
                Content = new Dictionary<string, OpenApiMediaType>(StringComparer.Ordinal)
                {
                    ["application/problem+json"] = new() { Schema = new OpenApiSchemaReference(Problem, context.Document) },
                },
            };
            return Task.CompletedTask;
        });
    }

    // One that every generator can make a name of: postSalesPreload, getSalesStats, deleteOpsBlocklist.
    private static string OperationId(string method, string path) => method.ToLowerInvariant() + string.Concat(
        path.Replace("api/v1/", "", StringComparison.Ordinal).Split('/', ':', '-', '.').Where(part => part is not ['{', ..]).Select(Capitalized))
        + (path.EndsWith('}') && method is "GET" ? "One" : "");

    private static string Capitalized(string word) => word.Length == 0 ? "" : char.ToUpperInvariant(word[0]) + word[1..];

    private static OpenApiSchema ProblemSchema() => new()
    {
        Type = JsonSchemaType.Object,
        Description = "RFC 9457, with a stable code. Errors say what is wrong with a request, by field or by line.",
        Properties = new Dictionary<string, IOpenApiSchema>(StringComparer.Ordinal)
        {
            ["type"] = Of(JsonSchemaType.String),
            ["title"] = Of(JsonSchemaType.String),
            ["status"] = Of(JsonSchemaType.Integer),
            ["code"] = Of(JsonSchemaType.String),
            ["detail"] = Of(JsonSchemaType.String),
            ["errors"] = new OpenApiSchema { Type = JsonSchemaType.Array, Items = Of(JsonSchemaType.Object) },
            ["traceId"] = Of(JsonSchemaType.String),
        },
    };

    private static OpenApiSchema Of(JsonSchemaType type) => new() { Type = type };
}
